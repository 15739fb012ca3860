"""The exact values of mathematical answers, however they are written: numbers, expressions, tuples, sets, relations."""
