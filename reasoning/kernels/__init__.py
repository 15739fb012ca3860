"""Log-probabilities and divergences of tokens without logits in memory, by backend; functions of arrays, no models."""
