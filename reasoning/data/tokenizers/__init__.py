"""Texts to token ids and back, trained here or read from the files of others."""
