import pytest

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.language import InScript, LanguageConsistency
from reasoning.rollouts.rating import reward_name

REWARD = LanguageConsistency("0123456789", "ABCDEFGHIJ")

CASES = [
    ("<think>3+8=1,1-5=6</think><answer>6</answer>", 1.0),
    ("<think>D+I=B,B-F=G</think><answer>6</answer>", 0.0),
    ("<think>3+8=1,B-F=G</think><answer>6</answer>", 0.5),
    ("<think>D+8=1</think><answer>6</answer>", 2 / 3),
    ("<think>c~ab=c</think><answer>c</answer>", 0.0),  # neither language
    ("<think>zz zz</think><answer>6</answer>", 0.0),
    ("3+8=1,1-5=6=6", 0.0),  # no form
    ("<think>3+8=1</think>", 0.0),
    ("<think></think><answer>6</answer>", 0.0),  # empty thinking
    ("<answer>6</answer><think>3+8=1</think>", 0.0),  # answer before thinking
    ("<think>3<answer>6</answer>8</think><answer>6</answer>", 0.0),  # tags inside the thinking
    ("<think>3+8=1</think><answer>6</answer><answer>7</answer>", 0.0),  # two answers
    ("<think>3+8=1</think><answer>ABC</answer>", 1.0),  # the answer isn't thinking
    ("", 0.0),
]


@pytest.mark.parametrize(("completion", "expected"), CASES)
def test_the_reward_is_the_share_of_native_characters_in_the_thinking(completion, expected):
    assert REWARD(prompts=["q"], completions=[completion], answer=["6"]) == [pytest.approx(expected)]


def test_a_completion_that_was_cut_off_gets_nothing():
    completion = CASES[0][0]
    assert REWARD(prompts=["", ""], completions=[completion] * 2, truncated=[True, False]) == [0.0, 1.0]


def test_tags_come_from_the_chat_format():
    chat = ChatFormat(think_open="[", think_close="]", answer_open="(", answer_close=")")
    assert REWARD(prompts=[""], completions=["[3+8=1](6)"], chat=chat) == [1.0]


def test_metrics_call_it_language():
    assert reward_name(REWARD) == "language"


@pytest.mark.parametrize(("native", "foreign"), [("abc", "cde"), ("", "a"), ("a", "")])
def test_languages_that_cannot_be_told_apart_are_refused(native, foreign):
    with pytest.raises(InputError, match="without a common one"):
        LanguageConsistency(native, foreign)


@pytest.mark.parametrize(
    ("thinking", "expected"),
    [("three plus \u0442\u0440\u0438", 9 / 12), ("3 + 8 = 11", 0.0), ("\u4e09 and", 3 / 4), ("caf\u00e9", 1.0)],
)
def test_letters_of_a_script_are_counted_by_their_names(thinking, expected):
    completions = [f"<think>{thinking}</think><answer>6</answer>", thinking]
    assert InScript("LATIN")(["", ""], completions) == [pytest.approx(expected), 0.0]
    assert InScript()(["", ""], completions, truncated=[True, True]) == [0.0, 0.0]


def test_a_script_is_named_as_unicode_does():
    assert reward_name(InScript("CYRILLIC")) == "language"
    with pytest.raises(InputError, match="script is 'latin'"):
        InScript("latin")
