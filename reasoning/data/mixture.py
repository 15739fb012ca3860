"""Mixtures: what share of the tokens each source of a corpus gives, whatever the sizes of the sources are."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import lcm

from reasoning.core.errors import InputError
from reasoning.core.ranges import Index, Positive


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Shares of tokens, one a source, and how often a source's documents may be repeated to give them.

    With ``tokens = 0`` the mixture is as long as all shares hold: it ends when the first source has given all that it
    may. With a number it is so long; a source that runs dry before is told of, and the others share what is missing as
    they share the rest.
    """

    shares: tuple[Positive, ...]  # scaled to a sum of 1
    epochs: tuple[Positive, ...] = ()  # how often a source's documents occur at most; empty: each once
    tokens: Index = 0  # of the whole mixture, to one document

    def __post_init__(self) -> None:
        if not self.shares:
            raise InputError("a mixture needs shares, one a source")
        if self.epochs and len(self.epochs) != len(self.shares):
            raise InputError(f"a mixture of {len(self.shares)} shares has {len(self.epochs)} epochs; give one each")


@dataclass
class MixtureTally:
    """What a mixture took: by source its documents and tokens, and how many tokens there were when it ran dry."""

    documents: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    dry: dict[int, int] = field(default_factory=dict)

    def results(self, sizes: Sequence[int]) -> dict[str, float]:
        """``mixture/<source's place>/share``, ``tokens`` and ``epochs`` of each source of these sizes."""
        total = max(1, sum(self.tokens))
        told: dict[str, float] = {}
        for place, (documents, tokens, size) in enumerate(zip(self.documents, self.tokens, sizes, strict=True)):
            values = {"share": tokens / total, "tokens": tokens, "epochs": documents / size}
            told |= {f"mixture/{place}/{name}": value for name, value in values.items()}
        return told


def interleave(
    mixture: Mixture, sizes: Sequence[int], length: Callable[[int, int], int], tally: MixtureTally
) -> Iterator[tuple[int, int]]:
    """The documents of a mixture in order, each as its source's place and its number there.

    ``sizes`` are the numbers of documents, and ``length(source, number)`` gives the tokens of one. At each step the
    source gives its next document that is furthest behind its share of the tokens given so far, of equals the first,
    computed in whole numbers: nothing is drawn and nothing is rounded. So long as none is dry, no source is ever more
    than one document ahead of its share, so it lacks at most as much as the others together are ahead.
    """
    if len(sizes) != len(mixture.shares):
        raise InputError(
            f"a mixture of {len(mixture.shares)} shares was given {len(sizes)} sources; give one share each"
        )
    weights = _whole(mixture.shares)
    epochs = mixture.epochs or (1.0,) * len(sizes)
    limits = [max(1, int(Fraction(str(times)) * size)) for times, size in zip(epochs, sizes, strict=True)]
    tally.documents, tally.tokens = [0] * len(sizes), [0] * len(sizes)
    flowing = list(range(len(sizes)))
    while flowing and not 0 < mixture.tokens <= sum(tally.tokens):
        source = _furthest_behind(flowing, weights, tally.tokens)
        taken = tally.documents[source]
        if taken == limits[source]:
            tally.dry[source] = sum(tally.tokens)
            if not mixture.tokens:
                return
            flowing.remove(source)
            continue
        number = taken % sizes[source]
        tally.documents[source] += 1
        tally.tokens[source] += length(source, number)
        yield source, number


def _furthest_behind(flowing: Sequence[int], weights: Sequence[int], given: Sequence[int]) -> int:
    """Of the sources that aren't dry the one with the largest deficit, its share of their tokens less its own."""
    weight, total = sum(weights[place] for place in flowing), sum(given[place] for place in flowing)
    deficits = [weights[place] * total - weight * given[place] for place in flowing]
    return flowing[deficits.index(max(deficits))]


def _whole(shares: Sequence[float]) -> list[int]:
    """Whole numbers in the ratio of the shares as they are written: 0.3 is three tenths."""
    fractions = [Fraction(str(share)) for share in shares]
    scale = lcm(*(fraction.denominator for fraction in fractions))
    return [int(fraction * scale) for fraction in fractions]
