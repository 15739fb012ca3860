"""Words and stretches of words as 64-bit numbers, so that texts are compared by arrays and not by strings.

Shapes: N words of a text, L words of a stretch, R rows of K numbers each. Two different stretches get the same number
with a chance of about 2**-64.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from jaxtyping import UInt64

_BASE = 0x9E3779B97F4A7C15
"""Odd, so that it can be divided by, modulo 2**64."""

_INVERSE = pow(_BASE, -1, 2**64)
_MASK = 2**64 - 1


@lru_cache(maxsize=1 << 16)
def word_hash(word: str) -> int:
    """A word's number, the same on every machine."""
    return int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def word_hashes(words: Sequence[str]) -> UInt64[np.ndarray, " N"]:
    """The number of each word."""
    return np.fromiter(map(word_hash, words), np.uint64, len(words))


def stretch_hashes(hashes: UInt64[np.ndarray, " N"], length: int) -> UInt64[np.ndarray, " M"]:
    """The number of each stretch of ``length`` words, M = N - L + 1 of them, none where the text is shorter.

    A polynomial in the words' numbers modulo 2**64, of any length at the cost of one sum over the text, and mixed at
    the end (the finalizer of SplitMix64, Steele et al. 2014), so that all its bits are as good as random.
    """
    count = len(hashes) - length + 1
    if count < 1 or length < 1:
        return np.zeros(0, np.uint64)
    powers = _powers(_BASE, len(hashes))
    sums = np.zeros(len(hashes) + 1, np.uint64)
    np.cumsum(hashes * _powers(_INVERSE, len(hashes)), out=sums[1:])
    return _mixed((sums[length:] - sums[:count]) * powers[:count] + np.uint64(length))


def stretch_hash(words: Sequence[str]) -> int:
    """The number of a whole text, as ``stretch_hashes`` gives for the same words inside another one."""
    return int(stretch_hashes(word_hashes(words), len(words))[0])


def row_hashes(rows_RK: UInt64[np.ndarray, "R K"]) -> UInt64[np.ndarray, " R"]:
    """One number for each row of numbers."""
    return _mixed((rows_RK * _powers(_BASE, rows_RK.shape[1])).sum(axis=1, dtype=np.uint64))


def _powers(base: int, count: int) -> UInt64[np.ndarray, " N"]:
    room = 1 << max(10, (count - 1).bit_length())
    return _all_powers(base, room)[:count]


@lru_cache(maxsize=16)
def _all_powers(base: int, count: int) -> UInt64[np.ndarray, " N"]:
    powers = np.full(count, base & _MASK, np.uint64)
    powers[0] = 1
    return np.cumprod(powers)


def _mixed(values: UInt64[np.ndarray, " M"]) -> UInt64[np.ndarray, " M"]:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
