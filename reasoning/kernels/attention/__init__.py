"""Attention over whole sequences without an array of all scores: chunks of plain XLA, or kernels for TPUs."""
