import math
import random
import sys

import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.tasks.bm25 import BM25

WORDS = [f"w{number}" for number in range(40)]


def scores(texts: list[str], question: str, k1: float, b: float) -> np.ndarray:
    """BM25 by its formula, in float64."""
    documents = [text.lower().split() for text in texts]
    mean = sum(map(len, documents)) / len(documents)
    total = np.zeros(len(documents))
    for word in question.lower().split():
        holding = sum(word in document for document in documents)
        weight = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
        for at, document in enumerate(documents):
            times = document.count(word)
            total[at] += weight * times / (times + k1 * (1 - b + b * len(document) / mean))
    return total


@pytest.mark.parametrize(("k1", "b"), [(1.5, 0.75), (0.9, 0.4), (2.0, 0.0)])
def test_passages_come_in_the_order_of_the_formula(k1, b):
    generator = random.Random(f"{k1}")
    texts = [" ".join(generator.choices(WORDS, k=generator.randint(1, 25))) for _ in range(80)]
    ranking = BM25(k1, b).ranking(texts)
    for _ in range(20):
        question = " ".join(generator.choices([*WORDS, "Unheard"], k=5))
        truth = scores(texts, question, k1, b)
        found = ranking(question, len(texts))
        assert set(found) == set(np.flatnonzero(truth))
        assert np.all(np.diff(truth[found]) <= 1e-12)
        assert list(ranking(question, 7)) == list(found[:7])


def test_case_and_punctuation_dont_count_and_ties_keep_their_order():
    ranking = BM25().ranking(["La-Paz, the seat.", "of la paz", "LA PAZ?", "nothing"])
    assert list(ranking("la paz!", 3)) == [2, 1, 0]  # the shorter the better
    assert list(BM25().ranking(["x a", "a y", "z"] * 3)("A", 9)) == [0, 1, 3, 4, 6, 7]


def test_a_question_that_shares_no_word_finds_nothing():
    ranking = BM25().ranking(["one", "two"])
    assert list(ranking("three", 2)) == [] and list(ranking("?!", 2)) == []


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(InputError, match=r"needs the package bm25s .* pip install 'reasoning-jax\[retrieval\]'"):
        BM25().ranking(["never looked up before"])
