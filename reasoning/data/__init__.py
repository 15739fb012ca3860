"""Tokenizers, chat formats and data sets, from texts to packed rows of tokens; never what a right answer is."""
