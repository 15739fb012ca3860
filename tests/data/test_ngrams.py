"""Equal stretches have equal numbers wherever they stand, and unequal ones unequal numbers."""

import random

import numpy as np
import pytest

from reasoning.data.ngrams import row_hashes, stretch_hash, stretch_hashes, word_hash, word_hashes


@pytest.fixture(scope="module")
def words() -> list[str]:
    chosen = random.Random(0)
    return [chosen.choice("abcde") for _ in range(3000)]


@pytest.mark.parametrize("length", [1, 2, 5, 8, 40])
def test_stretches_are_equal_exactly_where_their_words_are(words: list[str], length: int):
    numbers = stretch_hashes(word_hashes(words), length).tolist()
    texts = [tuple(words[start : start + length]) for start in range(len(words) - length + 1)]
    assert len(numbers) == len(texts)
    assert len(set(numbers)) == len(set(texts)) == len(set(zip(texts, numbers, strict=True)))


def test_a_stretch_has_the_number_that_it_has_alone_and_its_length_counts(words: list[str]):
    numbers = stretch_hashes(word_hashes(words), 7)
    assert int(numbers[1234]) == stretch_hash(words[1234:1241])
    assert len({stretch_hash(["a"] * count) for count in range(1, 50)}) == 49
    assert not len(stretch_hashes(word_hashes(words[:3]), 4)) and not len(stretch_hashes(word_hashes([]), 0))


def test_the_numbers_are_the_same_in_every_process():
    assert word_hash("reasoning") == 0x6B1AC33C20C3FFA8
    assert stretch_hash(["what", "is", "5"]) == 0xB5BF8996496F36A9


def test_bits_of_numbers_are_as_good_as_random(words: list[str]):
    numbers = np.unique(stretch_hashes(word_hashes(words), 6))
    ones = (numbers[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert np.all(np.abs(ones.mean(0) - 0.5) < 5 * 0.5 / len(numbers) ** 0.5)


def test_rows_of_numbers_are_equal_exactly_where_all_of_them_are():
    rows = np.random.default_rng(0).integers(0, 3, (2000, 4)).astype(np.uint64)
    numbers = row_hashes(rows)
    assert len(np.unique(numbers)) == len(np.unique(rows, axis=0))
