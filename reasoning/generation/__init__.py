"""Sampling and searching, from prompts to tokens with log-probabilities, and votes; never what is rewarded."""
