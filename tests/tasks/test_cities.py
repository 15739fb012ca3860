import json
import re

import pytest

from reasoning.core.errors import InputError
from reasoning.tasks.cities import Cities, known_cities


def test_the_cities_are_the_known_ones():
    named = {(city, country): (population, capital) for city, country, population, capital in known_cities()[:500]}
    assert named["Tokyo", "Japan"][1] and named["Tokyo", "Japan"][0] > 5_000_000
    assert not named["Shanghai", "China"][1] and named["Beijing", "China"][1]
    assert len(named) == 500


def test_a_record_is_what_its_sentence_says_and_the_splits_share_no_city():
    train, test = Cities().problems("train", 300, 0), Cities().problems("test", 100, 0)
    for problem in (*train, *test):
        text, _, shown = problem.question.partition("\nJSON of ")
        record = json.loads(problem.answer)
        assert record["city"] in text and record["country"] in text and f"{record['population']:,}" in text
        assert record["capital"] == bool(re.search("[Tt]he capital", text)) and text[0] == text[0].upper()
        assert json.loads(shown.removesuffix(":")) == problem.columns["schema"]
        assert list(record) == list(problem.columns["schema"]) and "{" not in text
    assert not {problem.source for problem in train} & {problem.source for problem in test}


def test_another_seed_tells_of_the_same_cities_of_a_split_in_other_words():
    one, other = (
        {each.source: each.question for each in Cities(cities=300).problems("test", 20, seed)} for seed in (0, 1)
    )
    both = one.keys() & other.keys()
    assert len(both) > 5 and any(one[city] != other[city] for city in both)
    assert Cities().problems("test", 60, 2)[:20] == Cities().problems("test", 20, 2)


@pytest.mark.parametrize(
    ("settings", "told"), [({"cities": 10**7}, "there are only"), ({"form": "x"}, "without {text}")]
)
def test_settings_that_cannot_be_met_are_refused(settings, told):
    with pytest.raises(InputError, match=told):
        Cities(**settings)
