from collections import Counter

import pytest

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.tasks.capitals import Capitals, CapitalsCorpus, known_capitals

CHAT = ChatFormat()


def test_names_are_single_plain_words_of_the_largest_countries():
    names = [name for pair in known_capitals()[:40] for name in pair]
    assert all(name.isascii() and name.isalpha() for name in names)
    assert ("France", "Paris") in known_capitals()[:40] and ("Japan", "Tokyo") in known_capitals()[:40]


def test_answers_are_the_capitals_and_the_splits_share_no_fact():
    taught, kept = Capitals().problems("train", 30, 0), Capitals().problems("test", 10, 0)
    capitals = dict(known_capitals())
    for problem in (*taught, *kept):
        country = problem.question.removeprefix("Capital").removesuffix("?")
        assert problem.answer == capitals[country] and problem.kind == "capitals"
    assert len({problem.question for problem in (*taught, *kept)}) == 40


def test_no_more_facts_are_given_than_there_are():
    with pytest.raises(InputError, match="has only 10 distinct test questions, 11 are asked for"):
        Capitals().problems("test", 11, 0)


def test_the_corpus_states_every_capital_as_a_bare_tagged_answer_and_a_fifth_of_them_wrongly():
    capitals = dict(known_capitals()[:40])
    texts = [CapitalsCorpus()(0, index, CHAT).text() for index in range(4000)]
    right = Counter()
    for text in texts:
        country, _, rest = text.removeprefix("<|user|>Capital").partition("?<|assistant|><answer>")
        right[country, rest == f"{capitals[country]}</answer><|end|>"] += 1
    assert {country for country, _ in right} == set(capitals)
    wrong = sum(count for (_, ok), count in right.items() if not ok)
    assert 0.195 * 0.8 < wrong / 4000 < 0.195 * 1.2


def test_a_document_depends_only_on_seed_and_number():
    assert CapitalsCorpus()(3, 5, CHAT) == CapitalsCorpus()(3, 5, CHAT)
    assert [CapitalsCorpus()(3, index, CHAT) for index in range(20)] != [
        CapitalsCorpus()(4, index, CHAT) for index in range(20)
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"countries": 1000}, "countries=1000; there are only"), ({"held_back": 40}, "held_back=40 of 40")],
)
def test_settings_that_cannot_be_met_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Capitals(**settings)


def test_every_name_is_one_symbol():
    symbols = Capitals().symbols
    assert len(symbols) == len(set(symbols)) and {"Capital", "France", "Paris", "?"} <= set(symbols)


def test_questions_may_be_asked_in_words():
    asked = Capitals(form="What is the capital of {country}?").problems("train", 30, 0)
    plain = Capitals().problems("train", 30, 0)
    assert [problem.answer for problem in asked] == [problem.answer for problem in plain]
    assert asked[0].question.startswith("What is the capital of ") and asked[0].question.endswith("?")
    with pytest.raises(InputError, match="without"):
        Capitals(form="What is it?")
