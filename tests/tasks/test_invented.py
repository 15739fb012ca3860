import re

from reasoning.tasks.invented import SYNONYMS, Invented

FACTS = Invented()
PASSAGE = re.compile(r"([A-Z][a-z]{3})(\.[a-z]+):([a-z]+)")


def test_every_question_is_answered_by_the_passage_that_it_names():
    meant = {synonym: word for word, synonym in SYNONYMS.items()}
    told = {}
    for passage in FACTS.passages():
        subject, word, value = PASSAGE.fullmatch(passage.text).groups()
        told[passage.name] = (subject + meant.get(word, word), value)
    assert len(told) == 1024
    train, test = FACTS.problems("train", 800, 0), FACTS.problems("test", 80, 0)
    for problem in (*train, *test):
        asked, value = told[problem.columns["passage"]]
        assert problem.question == f"{asked}?" and problem.answer == value and problem.kind == "invented"
    assert not {problem.question for problem in train} & {problem.question for problem in test}


def test_two_in_five_passages_say_it_in_another_word():
    words = [PASSAGE.fullmatch(passage.text)[2] for passage in Invented().passages()]
    assert len(words) == 1024
    assert 0.35 < sum(word in SYNONYMS.values() for word in words) / len(words) < 0.45
    assert not any(PASSAGE.fullmatch(each.text)[2] in SYNONYMS.values() for each in Invented(renamed=0.0).passages())


def test_another_seed_has_other_facts():
    first, second = ({each.name: each.text for each in Invented(seed=seed).passages()} for seed in (0, 1))
    assert first.keys() == second.keys()
    assert sum(first[name] == second[name] for name in first) < 0.2 * len(first)


def test_every_part_of_a_passage_is_a_symbol():
    symbols = FACTS.symbols
    assert len(symbols) == len(set(symbols))
    for passage in FACTS.passages():
        subject, word, value = PASSAGE.fullmatch(passage.text).groups()
        assert {subject, f"{word}:", value} <= set(symbols)
    assert all(f"{word}?" in symbols for word in SYNONYMS)
