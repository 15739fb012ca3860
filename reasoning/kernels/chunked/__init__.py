"""The fused functions in plain XLA, for every device; Pallas must give the same."""
