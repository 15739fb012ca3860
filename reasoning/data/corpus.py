"""Opened sources and how their documents are mixed: by the sources' weights, or into shares of tokens."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from reasoning.data.chat.format import ChatFormat
from reasoning.data.documents import Document, Documents
from reasoning.data.mixture import Mixture, MixtureTally, interleave
from reasoning.data.packing import token_counts
from reasoning.data.sources import DocumentSource, open_sources, weave
from reasoning.data.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True)
class Corpus:
    """The documents of several sources; without a mixture their weights say how they are mixed."""

    parts: tuple[Documents, ...]
    weights: tuple[float, ...]
    mixture: Mixture | None

    def sizes(self) -> list[int]:
        """How many documents each part has."""
        return [len(part) for part in self.parts]

    def count(self) -> int:
        """How many documents are mixed by weights, or are there to be mixed into shares of tokens."""
        return sum(self.sizes()) if self.mixture is not None else len(weave(self.parts, self.weights))

    def sample(self) -> Iterator[Document]:
        """The documents that a tokenizer is trained on, the first ones first.

        There are no tokens yet, so a mixture's shares are of bytes here, up to where one source has given all.
        """
        if self.mixture is None:
            return iter(weave(self.parts, self.weights))

        def length(source: int, number: int) -> int:
            return len(self.parts[source][number].text().encode())

        return self._in_order(replace(self.mixture, tokens=0), length)

    def stream(self, tokenizer: Tokenizer) -> Iterator[Document]:
        """The mixed documents one after the other, none read before it is asked for."""
        if self.mixture is None:
            return iter(weave(self.parts, self.weights))

        def length(source: int, number: int) -> int:
            return next(token_counts([self.parts[source][number]], tokenizer))

        return self._in_order(self.mixture, length)

    def documents(self, lengths: Sequence[np.ndarray], tally: MixtureTally) -> Documents:
        """The mixed documents by number, ``lengths`` being the tokens of each part's, which only a mixture reads."""
        if self.mixture is None:
            return weave(self.parts, self.weights)
        order = interleave(self.mixture, self.sizes(), partial(_length, lengths), tally)
        plan = np.fromiter(order, np.dtype((np.int64, 2)))
        return Documents(len(plan), lambda index: self.parts[int(plan[index, 0])][int(plan[index, 1])])

    def _in_order(self, mixture: Mixture, length: Callable[[int, int], int]) -> Iterator[Document]:
        order = interleave(mixture, self.sizes(), length, MixtureTally())
        return (self.parts[source][number] for source, number in order)


def open_corpus(sources: Sequence[DocumentSource], mixture: Mixture | None, chat: ChatFormat, seed: int) -> Corpus:
    """Open sources to be mixed. Raises InputError as ``open_sources`` does."""
    parts = open_sources(sources, chat, seed)
    return Corpus(tuple(parts), tuple(source.weight for source in sources), mixture)


def _length(lengths: Sequence[np.ndarray], source: int, number: int) -> int:
    return int(lengths[source][number])
