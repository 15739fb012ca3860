"""Documents that were there already, word for word or nearly so; the first of them is kept.

Shapes: S shingles of a document, H hashes of its signature, B bands of R rows.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated

import numpy as np
from datasketch import MinHash
from jaxtyping import UInt64

from reasoning.core.ranges import Range, Size
from reasoning.core.words import words_of
from reasoning.data.cleaning import Marker, Marks, Reading, Recall, Removal, Sieve
from reasoning.data.hash_table import HashTable
from reasoning.data.ngrams import row_hashes

_ROWS = 5
_MISSED = 0.005
"""How many of the pairs that are exactly as similar as the threshold share no band; of more similar ones fewer do."""

_COMPARED = 64
"""Earlier documents that one is compared with at most, those with which it shares most bands first."""

_NUMBER_BITS = 40


@dataclass(frozen=True)
class Duplicates:
    """Removes documents whose words are those of an earlier one, whatever white space is between them.

    A document is remembered by 88 bits of its hash, in 16 bytes.
    """

    def marker(self) -> Marker:
        """Marks a document by two numbers of its hash, of 64 and of 24 bits."""

        def mark(reading: Reading) -> Marks:
            digest = blake2b(words_of(reading.text).encode("utf-8", "surrogatepass"), digest_size=11).digest()
            return np.array([int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")], np.uint64)

        return mark

    def sieve(self, recall: Recall) -> Sieve:
        """A sieve that has seen nothing."""
        del recall  # All that counts is in the table.
        seen = HashTable()

        def look(number: int, marks: Marks) -> Removal | None:
            key, more = marks[:1], int(marks[1])
            for value in seen.find(key):
                if value >> _NUMBER_BITS == more:
                    return Removal("exact duplicates", value & (2**_NUMBER_BITS - 1), 1.0)
            seen.add(key, more << _NUMBER_BITS | number)
            return None

        return look


@dataclass(frozen=True)
class NearDuplicates:
    """Removes running texts that share ``threshold`` or more of their shingles with an earlier one.

    Shingles are the stretches of ``words`` plain words (``core.words.plain_words``), and what is compared is their
    sets' Jaccard similarity. MinHash finds whom to compare (Broder 1997, doi 10.1109/SEQUEN.1997.666900; bands as in
    Leskovec et al., Mining of Massive Datasets, section 3.4), and misses 0.5 % of the pairs at the threshold; then the
    sets themselves decide, so no pair below it is removed. Documents with a prompt are let be: two questions about one
    passage, or under one instruction, are nearly the same text and not the same lesson.

    In memory 16 bytes a band of each document that is kept (14 bands at 0.8), on disk 8 bytes a shingle.
    """

    threshold: Annotated[float, Range(minimum=0.5, maximum=0.99)] = 0.8
    words: Size = 5
    seed: Annotated[int, Range(minimum=0, maximum=2**32 - 1)] = 0  # of the permutations

    def bands(self) -> int:
        """How many bands of five rows find a pair at the threshold but for one in two hundred."""
        return math.ceil(math.log(_MISSED) / math.log1p(-(self.threshold**_ROWS)))

    def marker(self) -> Marker:
        """Marks a running text by the numbers of its bands, and then its shingles."""
        signed = _signatures(self.bands(), self.seed)

        def mark(reading: Reading) -> Marks:
            shingles_S = np.unique(reading.stretches(min(self.words, len(reading.hashes))))
            if not len(shingles_S) or not all(piece.learn for piece in reading.document.pieces):
                return shingles_S[:0]
            return np.concatenate([signed(shingles_S), shingles_S])

        return mark

    def sieve(self, recall: Recall) -> Sieve:
        """A sieve that has seen nothing; it keeps the bands of what is kept, and asks again for a text's shingles."""
        seen, bands = HashTable(), self.bands()

        def look(number: int, marks: Marks) -> Removal | None:
            if not len(marks):
                return None
            keys_B, shingles_S = marks[:bands], marks[bands:]
            shared = Counter(seen.find(keys_B))
            for earlier, _ in sorted(shared.items(), key=lambda pair: (-pair[1], pair[0]))[:_COMPARED]:
                if (similarity := jaccard(shingles_S, recall(earlier)[bands:])) >= self.threshold:
                    return Removal("near duplicates", earlier, similarity)
            seen.add(keys_B, number)
            return None

        return look


def jaccard(one: UInt64[np.ndarray, " S"], other: UInt64[np.ndarray, " S2"]) -> float:
    """How many of the members of two sets, each an array without repeats, both have."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


def _signatures(bands: int, seed: int) -> Callable[[UInt64[np.ndarray, " S"]], UInt64[np.ndarray, " B"]]:
    """The numbers of a set's bands: sets with equal minima in all rows of a band have that band's number in common."""
    # Shingles are hashes already, of 64 bits.
    minhash = MinHash(num_perm=bands * _ROWS, seed=seed, scheme="affine64", hashfunc=int)
    numbers_B = np.arange(bands, dtype=np.uint64)

    def signed(shingles_S: UInt64[np.ndarray, " S"]) -> UInt64[np.ndarray, " B"]:
        minhash.clear()
        minhash.update_batch(shingles_S.tolist())
        rows_BR = minhash.hashvalues.reshape(bands, _ROWS)
        return row_hashes(np.column_stack([numbers_B, rows_BR]))

    return signed
