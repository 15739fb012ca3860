"""Constrained replies of a tiny model: what they may be, by their labels, and the draws of several tables in one exam.

Shapes: P problems, S samples.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny_stages
from scipy.special import softmax

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.prng import stage_key
from reasoning.evaluation.constrained import Constrained, one_label, record
from reasoning.evaluation.continuations import log_likelihoods
from reasoning.evaluation.exam import Answers, questions_of
from reasoning.generation.grammar import AnyOf, Text, json_object
from reasoning.generation.prompts import PromptStyle
from reasoning.rewards.labels import Label
from reasoning.tasks.problems import Problem

KEY = stage_key(0, "exam")
FORM = "<answer>{reply}</answer>"
PROBLEMS = (
    Problem("1+1=", "2", "sums", {"labels": ["3", "2", "11"]}),
    Problem("2+9-4=", "7", "sums", {"labels": ["7", "8"]}),
    Problem("5+4=", "3", "sums", {"labels": ["11", "3", "2"]}),
)
EXAM = tiny_stages.quiz(scores=(Label(),), rates=(), max_new_tokens=8)


SAMPLES = 48


def asked(base: Artifact, devices: int = 1, opening: str = "", problems: Any = PROBLEMS, **changes: Any) -> Answers:
    candidate = tiny_stages.candidate(base, EXAM, devices)
    style = PromptStyle("opened", opening=opening)
    questions = questions_of(EXAM, candidate.tokenizer, 32, style, problems)
    settings = {"pattern": one_label, "form": FORM, "samples": SAMPLES, "temperature": 1.0}
    return Constrained(**{**settings, **changes}).replies(candidate, questions, KEY)


@pytest.mark.parametrize("devices", [1, 2])
def test_every_reply_is_one_of_its_problems_labels_and_all_of_them_occur(base, devices):
    answers = asked(base, devices)
    for texts, problem in zip(answers.texts, PROBLEMS, strict=True):
        assert set(texts) == {FORM.format(reply=label) for label in problem.columns["labels"]}
    others = replace(PROBLEMS[1], columns={"labels": ["4", "7"]})
    again = asked(base, devices, problems=(PROBLEMS[0], others, PROBLEMS[2]))
    assert [answers.texts[at] for at in (0, 2)] == [again.texts[at] for at in (0, 2)]  # whatever others' labels are
    assert set(again.texts[1]) == {FORM.format(reply=label) for label in ("4", "7")}


def test_labels_are_drawn_as_likely_as_the_model_finds_them_among_each_other(base):
    """Labels of one token behind a beginning that is given: their shares are a softmax of what each has alone."""
    labels = ("2", "3", "4")
    problems = tuple(replace(problem, answer="3", columns={"labels": [*labels]}) for problem in PROBLEMS)
    answers = asked(base, problems=problems)
    candidate = tiny_stages.candidate(base, EXAM)
    questions, encode = questions_of(EXAM, candidate.tokenizer, 32, problems=problems), candidate.tokenizer.encode
    before = [[*prompt, *encode("<answer>")] for prompt in questions.prompts]
    texts = [(prompt, encode(label)) for prompt in before for label in labels]
    shares_PL = softmax(log_likelihoods(candidate, texts, 16).reshape(3, 3), axis=1)
    for replies, log_probs, shares in zip(answers.texts, answers.log_probs, shares_PL, strict=True):
        for label, share in zip(labels, shares, strict=True):
            own = np.array([reply == FORM.format(reply=label) for reply in replies])
            assert abs(own.mean() - share) < 4 * np.sqrt(share * (1 - share) / SAMPLES) + 0.02
            np.testing.assert_allclose(np.exp(log_probs[own]), share, rtol=5e-3)


def test_what_the_prompt_gives_is_not_said_again_and_thinking_is_free(base):
    answers = asked(base, opening="<answer>")
    assert all(text.startswith("<answer>") and text.endswith("</answer>") for texts in answers.texts for text in texts)
    assert asked(base, opening="<answer>", form="{reply}</answer>", after="<answer>").texts == answers.texts
    free = asked(base, form="{reply}</answer>", after="<answer>")
    for texts, problem in zip(free.texts, PROBLEMS, strict=True):
        behind = [text.partition("<answer>")[2] for text in texts if "<answer>" in text]
        whole = {f"{label}</answer>" for label in problem.columns["labels"]}
        assert all(any(each.startswith(text) for each in whole) for text in behind)  # some are cut off
    assert any("<answer>" in text for texts in free.texts for text in texts)
    assert len({text.partition("<answer>")[0] for texts in free.texts for text in texts}) > 10


def test_a_pattern_is_one_of_labels_or_a_record_of_the_schema():
    assert one_label(PROBLEMS[0]) == AnyOf((Text("11"), Text("2"), Text("3")))
    schema = {"a": "integer"}
    assert record(Problem("?", "{}", "k", {"schema": schema})) == json_object(schema)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pattern": record}, "has no schema of a record: its column 'schema' is None"),
        ({"form": "{reply}", "opening": "<answer>"}, "the prompt begins replies with '<answer>', and the form"),
        ({"form": "reply"}, "it must hold {reply} once"),
        ({"pattern": lambda problem: "2"}, "must give a pattern of reasoning.generation.grammar"),
    ],
)
def test_what_does_not_fit_is_refused(base, changes, message):
    with pytest.raises(InputError, match=message):
        asked(base, **changes)
