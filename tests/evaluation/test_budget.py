"""Budget forcing: what a budget of none is, how long thoughts get, and what is written into replies."""

import re
from dataclasses import replace

import jax
import numpy as np
import pytest
import tiny_stages
from tiny_stages import questions_for

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.evaluation.budget import Budget
from reasoning.evaluation.exam import ask, questions_of
from reasoning.generation.prompts import direct, thinking

KEY = jax.random.key(5)
EXAM = tiny_stages.quiz(max_new_tokens=12)


@pytest.fixture(scope="module")
def candidate(base: Artifact):
    return tiny_stages.candidate(base, EXAM)


def asked(candidate, style):
    return questions_of(candidate.exam, candidate.tokenizer, candidate.model.config.context, style)


def thought(text: str) -> str:
    return text.removeprefix("<think>").partition("</think>")[0]


def tokens_in(candidate, text: str) -> int:
    """A thought's tokens; what stands for no text is one."""
    return len(candidate.tokenizer.encode(re.sub(" ?[\u2047\ufffd?] ?", "=", thought(text))))


def test_a_budget_of_none_is_the_direct_style(candidate):
    found = Budget(tokens=0, samples=3).replies(candidate, questions_for(candidate), KEY)
    plain = ask(candidate, asked(candidate, direct(EXAM.chat)), KEY, samples=3, temperature=1.0)
    assert found.texts == plain.texts
    np.testing.assert_array_equal(found.log_probs, plain.log_probs)


def test_a_thought_is_never_longer_than_its_budget_and_begins_as_one_without(candidate):
    free = ask(candidate, asked(candidate, thinking(EXAM.chat)), KEY, samples=1, temperature=1.0)
    found = Budget(tokens=4).replies(candidate, questions_for(candidate), KEY)
    closed = 0
    for group, others in zip(found.texts, free.texts, strict=True):
        for text, other in zip(group, others, strict=True):
            length = tokens_in(candidate, text)
            assert text.startswith("<think>") and length <= 4
            assert thought(other).startswith(thought(text)) and ("</think>" in text or length < 4)
            closed += thought(text) != thought(other)
    assert closed and found.lengths.max() <= EXAM.max_new_tokens
    assert found.spent is not None and (found.spent <= found.lengths.mean(axis=1) + 1).all()


@pytest.mark.slow
def test_where_a_thought_would_end_early_it_goes_on_behind_the_word(candidate):
    once, again = (
        Budget(tokens=9, samples=3, waits=waits, wait="=").replies(candidate, questions_for(candidate), KEY)
        for waits in (0, 1)
    )
    longer = 0
    for text, other in zip(sum(once.texts, []), sum(again.texts, []), strict=True):
        first, second = thought(text), thought(other)
        if first != second:
            assert second.startswith(first + "=")
            longer += 1
        assert tokens_in(candidate, other) <= 9 or "</think>" not in other
    assert longer and again.spent is not None and once.spent is not None and again.spent.sum() > once.spent.sum()


@pytest.mark.parametrize(
    ("method", "exam", "message"),
    [
        (Budget(tokens=12), EXAM, "thinks for 12 of the exam's 12 new tokens, which leaves none"),
        (Budget(tokens=4, waits=1, wait=""), EXAM, "nothing to write in place of a thought's end"),
        (
            Budget(tokens=4),
            replace(EXAM, chat=replace(ChatFormat(), think_open="", think_close="")),
            "this chat format has none",
        ),
    ],
)
def test_budgets_that_do_not_fit_are_refused(method, exam, message):
    with pytest.raises(InputError, match=message):
        method.check(exam)


def test_what_has_no_room_or_can_not_be_written_is_refused(candidate):
    for method, message in (
        (Budget(tokens=11), "the end of the thought leaves no token to answer with"),
        (Budget(tokens=9, waits=1, wait="Wait a"), "the vocabulary has no id for"),
    ):
        with pytest.raises(InputError, match=message):
            method.replies(candidate, questions_for(candidate), KEY)
    longest = max(len(prompt) for prompt in asked(candidate, thinking(EXAM.chat)).prompts)
    # A prompt and the whole reply fit into the context; with a thought behind it, a second thought doesn't.
    exam = replace(EXAM, max_new_tokens=tiny_stages.LENGTH - longest)
    tokens = exam.max_new_tokens - 3
    with pytest.raises(InputError, match=f"with waits reads a prompt of {longest} tokens with its thought"):
        Budget(tokens=tokens, waits=1, wait="=").replies(replace(candidate, exam=exam), questions_for(candidate), KEY)


def test_names_and_costs_tell_budgets_apart():
    assert [Budget(tokens=8).name, Budget(tokens=8, waits=2).name] == ["budget@8", "budget@8_wait2"]
    assert [Budget(tokens=8, samples=count).cost(EXAM) for count in (0, 1, 5)] == [EXAM.samples, 1, 5]
