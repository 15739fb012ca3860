from collections import Counter

import pytest

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.tasks.majorities import Majorities, MajorityCorpus
from reasoning.tasks.splits import split_of

CHAT = ChatFormat()


def test_the_label_is_the_one_letter_that_is_the_commonest_and_the_splits_share_no_text():
    train, test = Majorities().problems("train", 400, 0), Majorities().problems("test", 100, 0)
    for problem in (*train, *test):
        text, _, offered = problem.question.removesuffix("?").partition(":")
        counts = Counter(text)
        assert [letter for letter in counts if counts[letter] == max(counts.values())] == [problem.answer]
        assert list(offered) == problem.columns["labels"] and set(text) <= set(offered) and len(offered) == 3
        assert problem.source == text and 5 <= len(text) <= 9
    assert not {problem.source for problem in train} & {problem.source for problem in test}
    assert all(split_of(problem.source) == "train" for problem in train)
    assert {problem.answer for problem in test} == set("abcde")


def test_a_larger_count_begins_with_the_same_problems():
    assert Majorities().problems("test", 60, 2)[:20] == Majorities().problems("test", 20, 2)
    assert Majorities().problems("test", 20, 2) != Majorities().problems("test", 20, 3)


def test_the_corpus_asks_training_texts_and_a_third_of_its_random_answers_are_right_by_chance():
    right = 0
    for index in range(3000):
        asked, _, rest = MajorityCorpus()(0, index, CHAT).text().removeprefix("<|user|>").partition("<|assistant|>")
        text, _, offered = asked.removesuffix("?").partition(":")
        answer = rest.removeprefix("<answer>").removesuffix("</answer><|end|>")
        assert answer in offered and len(answer) == 1 and split_of(text) == "train"
        right += answer == Counter(text).most_common(1)[0][0]
    assert abs(right / 3000 - (0.5 + 0.5 / 3)) < 0.035  # four standard deviations


def test_a_document_depends_only_on_seed_and_number():
    assert MajorityCorpus()(3, 5, CHAT) == MajorityCorpus()(3, 5, CHAT) != MajorityCorpus()(4, 5, CHAT)


def test_every_character_is_a_symbol():
    assert set("".join(problem.question for problem in Majorities().problems("train", 50, 0))) <= {
        *MajorityCorpus().symbols
    }


@pytest.mark.parametrize("settings", [{"letters": "aab"}, {"offered": 6}, {"offered": 1}, {"minimum": 10}])
def test_settings_that_cannot_be_met_are_refused(settings):
    with pytest.raises(InputError, match="Majorities has"):
        Majorities(**settings)
