from hypothesis import given
from hypothesis import strategies as st

from reasoning.tasks.splits import split_of


def test_known_questions_keep_their_split_from_release_to_release():
    # A change here would leak old test questions into new training.
    assert [split_of(question) for question in ("3+8-5?", "1+1?", "1+2?", "9+5?")] == ["train", "test", "train", "test"]


def test_a_tenth_of_questions_is_test():
    share = sum(split_of(f"question {number}") == "test" for number in range(20_000)) / 20_000
    assert abs(share - 0.1) < 4 * (0.1 * 0.9 / 20_000) ** 0.5


@given(st.text())
def test_every_text_has_a_split_that_white_space_around_words_does_not_change(question):
    assert split_of(question) in ("train", "test")
    assert split_of(f"  {question}\n") == split_of(question)


def test_a_lone_surrogate_has_a_split_too():
    assert split_of("\ud800") in ("train", "test")


def test_the_spelling_of_an_accent_does_not_move_a_question():
    questions = [f"caf\u00e9 {number}?" for number in range(50)]
    assert [split_of(each) for each in questions] == [split_of(each.replace("\u00e9", "e\u0301")) for each in questions]
