"""Samples as they end are those of the model, budgets end thoughts, and choices are those of their numbers."""

import re
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from tiny_run import write_tiny_run
from tiny_stages import TEST, questions_for, quiz

from reasoning.core.errors import InputError
from reasoning.evaluation.budget import Budget
from reasoning.evaluation.exam import Candidate
from reasoning.generation.prompts import direct
from reasoning.use.find_model import find_model
from reasoning.use.loaded_model import LoadedModel, ModelReply
from reasoning.use.searches import CHOICES, Drawing, sampled_replies

QUESTION = TEST.problems()[0].question


@pytest.fixture(scope="module")
def model(corpus, base, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder: Path = write_tiny_run(tmp_path_factory.mktemp("searched"), corpus, base)
    return find_model(f"{folder}/base")


def test_samples_are_told_as_they_end_and_are_those_of_the_model(model: LoadedModel):
    told: list[tuple[ModelReply, ...]] = []
    drawing = Drawing(samples=16, max_new_tokens=8, seed=3)
    found = sampled_replies(model, QUESTION, drawing, lambda ended: told.append(tuple(ended)))
    assert found == model.replies([QUESTION], 16, 1.0, 8, 3)[0]
    assert [len(each) for each in told] == sorted(len(each) for each in told) and len(told[-1]) == 16
    shown = sorted((reply.text, reply.answer or "", reply.truncated) for reply in told[-1])
    assert shown == sorted((reply.text, reply.answer or "", reply.truncated) for reply in found)


def test_a_thought_ends_with_its_budget_and_a_budget_of_none_answers_at_once(model: LoadedModel):
    found = sampled_replies(model, QUESTION, Drawing(samples=6, max_new_tokens=14, think_budget=4), list)
    for reply in found:
        thought, closed, _ = reply.text.removeprefix("<think>").partition("</think>")
        tokens = model.tokenizer.encode(re.sub(" ?[\u2047\ufffd?] ?", "=", thought))  # what stands for no text is one
        assert len(tokens) <= 4 and (closed or not reply.truncated) and reply.length <= 14 and reply.log_prob < 0
    exam = quiz(problems=replace(TEST, count=1), max_new_tokens=14, samples=6)
    asked = Candidate(exam, model.model, model.mesh, model.tokenizer, model.weights, dict)
    same = Budget(tokens=4, samples=6).replies(asked, questions_for(asked), jax.random.key(0))
    assert [reply.text for reply in found] == same.texts[0]  # an exam's budget, to the letter
    np.testing.assert_allclose([reply.log_prob for reply in found], same.log_probs[0])
    none = sampled_replies(model, QUESTION, Drawing(samples=16, max_new_tokens=8, think_budget=0), list)
    assert none == model.replies([QUESTION], 16, 1.0, 8, style=direct(model.chat))[0]
    for budget in (-1, 12):
        with pytest.raises(InputError, match="a budget of .* to answer with; lower it, or raise --max-new-tokens"):
            sampled_replies(model, QUESTION, Drawing(max_new_tokens=8, think_budget=budget), list)


def test_what_was_said_before_is_read_until_there_is_no_room(model: LoadedModel):
    history = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]
    [[prompt], _] = model.prompts(["2+2?"], 1, direct(model.chat), history)
    text = model.tokenizer.decode(prompt)
    assert text.index("1+1?") < text.index("2+2?") and text.count("1+1?") == 1
    with pytest.raises(InputError, match="the conversation has grown to .*; begin another one"):
        model.prompts(["2+2?"], 1, direct(model.chat), history * 4)


def test_choices_are_of_votes_of_probability_and_of_the_surest():
    replies = [
        ModelReply("a", "1", -5.0, 2, False),
        ModelReply("b", "1", -5.0, 2, False),
        ModelReply("c", "2", -1.0, 2, False),
        ModelReply("d", "3", -2.0, 8, False),
    ]
    assert {name: choose(replies) for name, choose in CHOICES.items()} == {
        "majority": "1",
        "weighted": "2",
        "best": "3",
    }
