"""A completion token by token, with what sampler and trainer gave each: where a model was sure, where they differ."""

from collections.abc import Sequence
from typing import Any

from reasoning.core.errors import InputError
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.findings.rows import continued

END = "■"
"""Stands for the symbol at the end, which texts are kept without."""


def tokens_of(
    tokenizer: Tokenizer, text: str, sampler: Sequence[float], trainer: Sequence[float] | None
) -> list[dict[str, Any]] | None:
    """The tokens of a text with their log-probabilities, and the trainer's less the sampler's where it was recorded.

    Texts are kept, not tokens: they are read again, and None is returned where that gives another number of tokens than
    was drawn, since then nobody knows which is which, or where it can't be read: parts of a character, drawn as bytes,
    were kept as U+FFFD, which a vocabulary needn't have.
    """
    try:
        ids = tokenizer.encode(text)
    except InputError:
        return None
    if len(sampler) - len(ids) not in (0, 1):
        return None
    wholes = ["", *tokenizer.decode_batch([ids[: end + 1] for end in range(len(ids))], lenient=True)]
    pieces = [continued(before, whole) for before, whole in zip(wholes, wholes[1:], strict=False)]
    pieces += [END] * (len(sampler) - len(ids))
    given = trainer if trainer is not None and len(trainer) == len(sampler) else None
    return [
        {
            "text": piece,
            "log_prob": sampler[place],
            "mismatch": None if given is None else given[place] - sampler[place],
        }
        for place, piece in enumerate(pieces)
    ]
