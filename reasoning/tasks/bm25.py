"""Which passages share the rarest words with a question: BM25 (Robertson and Zaragoza 2009), by the bm25s package."""

import importlib
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from reasoning.core.errors import InputError
from reasoning.core.ranges import Fraction, NonNegative

_WORD = re.compile(r"\w+")

Ranking = Callable[[str, int], Sequence[int]]
"""From a question and how many are wanted to the numbers of passages, the best first; fewer where no others fit."""


@dataclass(frozen=True)
class BM25:
    """Lucene's form: a word of the question in n of N passages adds log(1 + (N - n + .5) / (n + .5)) times f / (f + k1
    (1 - b + b l / L)), where it stands f times in a passage of l words, L on average (arXiv 2407.03618).

    Words are runs of letters, digits and underscores, whatever their case. Passages of one score keep their order.
    """

    k1: NonNegative = 1.5
    b: Fraction = 0.75

    def ranking(self, texts: Sequence[str]) -> Ranking:
        """How questions rank ``texts``: those that share a word with them. Raises InputError without the package."""
        index = _index(self, tuple(texts))

        def ranked(question: str, count: int) -> list[int]:
            words = _words(question)
            scores = index.get_scores(words) if words else np.zeros(len(texts))
            order = np.argsort(-scores, kind="stable")[:count]
            return [int(at) for at in order if scores[at] > 0]

        return ranked


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


@lru_cache(maxsize=4)
def _index(settings: BM25, texts: tuple[str, ...]) -> Any:
    """The package's index; kept, since training and exams of one run look up the same passages."""
    index = _package().BM25(k1=settings.k1, b=settings.b, method="lucene", dtype="float64")
    index.index([_words(text) for text in texts], show_progress=False)
    return index


def _package() -> Any:
    """The package, which then keeps its notes on what it does to itself.

    Imported late, since it runs a program of JAX as it is imported, which takes hold of the devices.
    """
    try:
        package = importlib.import_module("bm25s")
    except ImportError as error:
        raise InputError(
            f"looking passages up needs the package bm25s ({error}); pip install 'reasoning-jax[retrieval]'"
        ) from error
    logging.getLogger(package.__name__).setLevel(logging.WARNING)
    return package
