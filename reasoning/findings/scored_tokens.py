"""A completion token by token, with what sampler and trainer gave each: where a model was sure, where they differ."""

from collections.abc import Sequence
from typing import Any

from reasoning.core.errors import InputError
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.findings.rows import continued

END = "■"
"""Stands for the symbol at the end, which texts are kept without."""


def tokens_of(
    tokenizer: Tokenizer,
    text: str,
    sampler: Sequence[float],
    trainer: Sequence[float] | None = None,
    entropies: Sequence[float] | None = None,
) -> list[dict[str, Any]] | None:
    """The tokens of a text with their log-probabilities, and where they were recorded the trainer's less the sampler's
    and the entropies of what the trainer held possible.

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

    def recorded(values: Sequence[float] | None) -> Sequence[float | None]:
        return values if values is not None and len(values) == len(sampler) else [None] * len(sampler)

    return [
        {
            "text": piece,
            "log_prob": own,
            "mismatch": None if theirs is None else theirs - own,
            "entropy": entropy,
        }
        for piece, own, theirs, entropy in zip(pieces, sampler, recorded(trainer), recorded(entropies), strict=True)
    ]
