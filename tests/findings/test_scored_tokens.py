from types import SimpleNamespace

from reasoning.core.errors import InputError
from reasoning.findings.scored_tokens import END, tokens_of


def _decode(rows, lenient):
    return ["".join(chr(each) for each in row) for row in rows]


LETTERS = SimpleNamespace(encode=lambda text: [ord(letter) for letter in text], decode_batch=_decode)
"""A tokenizer with a token a letter."""


def test_each_token_has_its_log_probability_how_far_the_trainer_is_from_it_and_the_trainers_entropy():
    found = tokens_of(LETTERS, "ab", [-1.0, -2.0], [-1.5, -1.0], [0.7, 0.2])
    assert found == [
        {"text": "a", "log_prob": -1.0, "mismatch": -0.5, "entropy": 0.7},
        {"text": "b", "log_prob": -2.0, "mismatch": 1.0, "entropy": 0.2},
    ]


def test_the_end_that_texts_are_kept_without_is_a_token_of_its_own():
    found = tokens_of(LETTERS, "ab", [-1.0, -2.0, -0.1])
    assert found is not None and [token["text"] for token in found] == ["a", "b", END]
    assert all(token["mismatch"] is token["entropy"] is None for token in found)


def test_a_text_that_reads_as_another_number_of_tokens_is_not_coloured():
    assert tokens_of(LETTERS, "abc", [-1.0, -2.0], None) is None
    assert tokens_of(LETTERS, "a", [-1.0, -2.0, -3.0], None) is None


def test_a_text_that_the_vocabulary_cannot_write_is_not_coloured():
    def encode(text: str) -> list[int]:
        raise InputError(f"the vocabulary has no id for {text!r}")

    assert tokens_of(SimpleNamespace(encode=encode, decode_batch=_decode), "\ufffd", [-1.0], None) is None
