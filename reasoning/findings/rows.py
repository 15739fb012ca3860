"""Rows that a model learns from, with what is learnt of them told apart from what is only read.

Wrong loss masks are the commonest silent fault of fine-tuning: a row is looked at, not believed.
"""

from dataclasses import dataclass

import numpy as np

from reasoning.data.documents import WHOLE
from reasoning.data.packing import PackedRow
from reasoning.data.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True)
class Stretch:
    """Neighbouring tokens of one document that are all learnt, or all only read; what is learnt weighs ``weight``."""

    text: str
    learn: bool
    tokens: int
    weight: float = 1.0


@dataclass(frozen=True)
class ShownRow:
    """A row's documents, each as its stretches in order; ``padding`` is how many places hold no token."""

    documents: tuple[tuple[Stretch, ...], ...]
    padding: int

    def count(self, learn: bool) -> int:
        """How many tokens are learnt, or only read."""
        return sum(part.tokens for document in self.documents for part in document if part.learn == learn)


def read_row(row: PackedRow, tokenizer: Tokenizer) -> ShownRow:
    """What stands in a packed row (``data.packing.pack``).

    A document's first token is never predicted, so it counts as read even where all of a document is learnt.
    """
    segments_T = np.asarray(row["segments"])
    documents = [
        _stretches(np.asarray(row["tokens"])[places], np.asarray(row["loss_mask"])[places], tokenizer)
        for segment in range(1, int(segments_T.max(initial=0)) + 1)
        if (places := segments_T == segment).any()
    ]
    return ShownRow(tuple(documents), int((segments_T == 0).sum()))


def _stretches(tokens_N: np.ndarray, learn_N: np.ndarray, tokenizer: Tokenizer) -> tuple[Stretch, ...]:
    """Cut where the mask changes; texts are decoded from the document's start, so that no blank is lost at a cut."""
    ends = [*(np.flatnonzero(np.diff(learn_N)) + 1).tolist(), len(tokens_N)]
    wholes = ["", *tokenizer.decode_batch([tokens_N[:end].tolist() for end in ends], lenient=True)]
    starts = [0, *ends[:-1]]
    return tuple(
        Stretch(continued(before, whole), bool(learn_N[start]), end - start, _weight(int(learn_N[start])))
        for before, whole, start, end in zip(wholes, wholes[1:], starts, ends, strict=False)
    )


def _weight(mask: int) -> float:
    return mask / WHOLE if mask > 1 else 1.0


def continued(before: str, whole: str) -> str:
    """What follows ``before`` in ``whole``; a character whose bytes a cut parts belongs to what follows."""
    same = next((at for at, pair in enumerate(zip(before, whole, strict=False)) if pair[0] != pair[1]), len(before))
    return whole[min(same, len(before)) :]
