"""What a run or a sweep has found, as sentences, tables, curves and pages made from its files; computes nothing new."""
