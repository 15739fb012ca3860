"""Documents that were there already, word for word or nearly so; the first of them is kept.

Shapes: S shingles of a document, H hashes of its signature, B bands of R rows.
"""

import math
import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import IO, Annotated

import numpy as np
from datasketch import MinHash
from jaxtyping import UInt64

from reasoning.core.ranges import Range, Size
from reasoning.core.words import words_of
from reasoning.data.cleaning import Reading, Removal, Sieve
from reasoning.data.hash_table import HashTable
from reasoning.data.ngrams import row_hashes, shingles

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

    def sieve(self, scratch: Path) -> AbstractContextManager[Sieve]:
        """A sieve that has seen nothing."""
        del scratch  # all is in memory
        seen = HashTable()

        def look(reading: Reading) -> Removal | None:
            digest = blake2b(words_of(reading.text).encode("utf-8", "surrogatepass"), digest_size=11).digest()
            key, more = (
                np.array([int.from_bytes(digest[:8], "little")], np.uint64),
                int.from_bytes(digest[8:], "little"),
            )
            for value in seen.find(key):
                if value >> _NUMBER_BITS == more:
                    return Removal("exact duplicates", value & (2**_NUMBER_BITS - 1), 1.0)
            seen.add(key, more << _NUMBER_BITS | reading.number)
            return None

        return nullcontext(look)


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

    @contextmanager
    def sieve(self, scratch: Path) -> Iterator[Sieve]:
        """A sieve that has seen nothing; shingles of what is kept lie in a file without a name in ``scratch``."""
        with tempfile.TemporaryFile(dir=scratch) as file:
            yield self._looking(_Texts(file))

    def _looking(self, texts: "_Texts") -> Sieve:
        signed, bands = _signatures(self.bands(), self.seed), HashTable()

        def look(reading: Reading) -> Removal | None:
            if not all(piece.learn for piece in reading.document.pieces):
                return None
            shingles_S = shingles(reading.hashes, self.words)
            if not len(shingles_S):
                return None
            keys_B = signed(shingles_S)
            shared = Counter(bands.find(keys_B))
            for text, _ in sorted(shared.items(), key=lambda pair: (-pair[1], pair[0]))[:_COMPARED]:
                if (similarity := jaccard(shingles_S, texts.read(text))) >= self.threshold:
                    return Removal("near duplicates", texts.numbers[text], similarity)
            bands.add(keys_B, texts.add(shingles_S, reading.number))
            return None

        return look


def jaccard(one: UInt64[np.ndarray, " S"], other: UInt64[np.ndarray, " S2"]) -> float:
    """How many of the members of two sets, each an array without repeats, both have."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


def _signatures(bands: int, seed: int) -> Callable[[UInt64[np.ndarray, " S"]], UInt64[np.ndarray, " B"]]:
    """The numbers of a set's bands: sets with equal minima in all rows of a band have that band's number in common."""
    # Shingles are hashes already, of 64 bits.
    permutations = MinHash(num_perm=bands * _ROWS, seed=seed, scheme="affine64").permutations

    def signed(shingles_S: UInt64[np.ndarray, " S"]) -> UInt64[np.ndarray, " B"]:
        minhash = MinHash(num_perm=bands * _ROWS, seed=seed, scheme="affine64", hashfunc=int, permutations=permutations)
        minhash.update_batch(shingles_S.tolist())
        rows_BR = minhash.hashvalues.reshape(bands, _ROWS)
        return row_hashes(np.column_stack([np.arange(bands, dtype=np.uint64), rows_BR]))

    return signed


@dataclass
class _Texts:
    """The shingles of the texts that were kept, in a file, in their order."""

    file: IO[bytes]
    ends: array = field(default_factory=lambda: array("q", [0]))
    numbers: array = field(default_factory=lambda: array("q"))

    def add(self, shingles_S: UInt64[np.ndarray, " S"], number: int) -> int:
        """Keeps a text's shingles and its document's number; by what is given they are read again."""
        self.file.seek(self.ends[-1])
        self.file.write(shingles_S.tobytes())
        self.ends.append(self.ends[-1] + shingles_S.nbytes)
        self.numbers.append(number)
        return len(self.numbers) - 1

    def read(self, text: int) -> UInt64[np.ndarray, " S"]:
        """The shingles of a text."""
        self.file.seek(self.ends[text])
        return np.frombuffer(self.file.read(self.ends[text + 1] - self.ends[text]), np.uint64)
