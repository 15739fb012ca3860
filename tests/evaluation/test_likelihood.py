"""Labels by probability: against the model's own log-probabilities of whole texts, and softmax in float64.

Shapes: P problems, L labels, N tokens, T time.
"""

from dataclasses import replace
from typing import Any

import full_softmax
import jax
import numpy as np
import pytest
import tiny_stages
from scipy.special import softmax

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.prng import stage_key
from reasoning.evaluation.exam import Answers, Candidate, Questions, questions_of
from reasoning.evaluation.likelihood import Likelihood, as_found, per_token, total, without_prior
from reasoning.generation.prompts import PromptStyle
from reasoning.rewards.labels import Label
from reasoning.stages.checkpoint import params_of
from reasoning.tasks.problems import Problem

KEY = stage_key(0, "exam")
FORM = "<answer>{label}</answer>"
PROBLEMS = (
    Problem("1+1=", "2", "sums", {"labels": ["3", "2", "11"]}),
    Problem("2+9-4=", "7", "sums", {"labels": ["7", "8"]}),
    Problem("5+4=", "9", "sums", {"labels": ["11", "3", "2"]}),
)
EXAM = tiny_stages.quiz(scores=(Label(),), rates=(), max_new_tokens=8, batch=2)


def asked(base: Artifact, devices: int = 1, **changes: Any) -> tuple[Candidate, Questions, Answers]:
    """The base asked for the likelihood of labels, in batches of two of three problems."""
    candidate = tiny_stages.candidate(base, replace(EXAM, batch=2), devices)
    problems = (*PROBLEMS[:2], replace(PROBLEMS[2], answer="3"))
    questions = questions_of(candidate.exam, candidate.tokenizer, candidate.model.config.context, problems=problems)
    return candidate, questions, Likelihood(**{"form": FORM, **changes}).replies(candidate, questions, KEY)


@pytest.fixture(scope="module")
def expected(base: Artifact) -> list[dict[str, tuple[float, int]]]:
    """By problem and label the log-probability and the length of its reply."""
    candidate, questions, _ = asked(base)
    params, found = params_of(base, candidate.model, candidate.mesh), []
    for problem, prompt in zip(questions.problems, questions.prompts, strict=True):
        replies = {
            label: candidate.tokenizer.encode(FORM.format(label=label) + EXAM.chat.end)
            for label in problem.columns["labels"]
        }
        found.append({
            label: (full_softmax.of_text(candidate.model, params, prompt, ids), len(ids))
            for label, ids in replies.items()
        })  # fmt: skip
    return found


@pytest.mark.parametrize("devices", [1, 2])
def test_probabilities_are_the_softmax_of_whole_replies_and_the_likeliest_is_chosen(base, expected, devices):
    _, questions, answers = asked(base, devices)
    for number, by_label in enumerate(expected):
        shares = softmax([log_prob for log_prob, _ in by_label.values()])
        assert answers.probabilities[number] == pytest.approx(dict(zip(by_label, shares, strict=True)), rel=2e-3)
        best = max(by_label, key=lambda label: by_label[label][0])
        assert answers.answers[number] == [best] and answers.texts[number] == [FORM.format(label=best)]
        assert answers.log_probs[number, 0] == pytest.approx(by_label[best][0], rel=2e-3)
        assert answers.lengths[number, 0] == by_label[best][1]
        assert answers.scores["label"][number, 0] == (best == questions.problems[number].answer)


def test_a_mean_over_tokens_does_not_make_long_labels_unlikely(base, expected):
    _, _, answers = asked(base, weigh=per_token)
    for number, by_label in enumerate(expected):
        shares = softmax([log_prob / length for log_prob, length in by_label.values()])
        assert answers.probabilities[number] == pytest.approx(dict(zip(by_label, shares, strict=True)), rel=2e-3)


def test_the_prior_is_taken_out_among_problems_of_the_same_labels(base, expected):
    _, _, answers = asked(base, correct=without_prior)
    alike = [0, 2]  # both of 2, 3 and 11, in different orders
    labels = sorted(expected[0])
    shares = np.array([softmax([expected[row][label][0] for label in labels]) for row in alike])
    corrected = shares / shares.mean(axis=0)
    corrected /= corrected.sum(axis=1, keepdims=True)
    for row, wanted in zip(alike, corrected, strict=True):
        assert answers.probabilities[row] == pytest.approx(dict(zip(labels, wanted, strict=True)), rel=5e-3)
    assert answers.probabilities[1] == pytest.approx({"7": 0.5, "8": 0.5})  # alone of its labels


def test_the_corrections_by_hand():
    log_prob_PL = np.log([[0.9, 0.1], [0.6, 0.4]])
    np.testing.assert_allclose(np.exp(without_prior(log_prob_PL)), [[0.9 / 0.75, 0.1 / 0.25], [0.8, 1.6]])
    assert as_found(log_prob_PL) is log_prob_PL
    length_PL = np.array([[1, 2], [2, 4]])
    assert total(log_prob_PL, length_PL) is log_prob_PL
    np.testing.assert_allclose(per_token(log_prob_PL, length_PL), log_prob_PL / length_PL)


def test_what_the_prompt_gives_of_a_reply_is_not_asked_again(base, expected):
    candidate, questions, _ = asked(base)
    style = PromptStyle("direct", opening="<answer>")
    opened = questions_of(candidate.exam, candidate.tokenizer, 32, style, questions.problems)
    answers = Likelihood(form=FORM).replies(candidate, opened, KEY)
    candidate_tokens = [len(candidate.tokenizer.encode(FORM.format(label=each[0]))) for each in answers.answers]
    assert answers.lengths[:, 0].tolist() == candidate_tokens  # one less for the tag, one more for the end
    assert all(text[0].startswith("<answer>") for text in answers.texts)
    with pytest.raises(InputError, match="the prompt begins replies with '<answer>', and the form '{label}'"):
        Likelihood().replies(candidate, opened, KEY)


def test_labels_that_are_missing_or_too_long_are_refused(base):
    candidate, questions, _ = asked(base)
    bare = questions_of(candidate.exam.__class__(**{**vars(candidate.exam), "scores": tiny_stages.quiz().scores}),
                        candidate.tokenizer, 32, problems=(Problem("1+1=", "2", "sums"),))  # fmt: skip
    with pytest.raises(InputError, match="has no labels to choose from: its column 'labels' is None"):
        Likelihood(form=FORM).replies(candidate, bare, KEY)
    short = replace(candidate, exam=replace(candidate.exam, max_new_tokens=2))
    with pytest.raises(InputError, match="labels of 5 tokens, and the exam's max_new_tokens is 2; raise it"):
        Likelihood(form=FORM).replies(short, questions, KEY)


def test_a_form_without_its_label_is_refused():
    with pytest.raises(InputError, match="without {label}"):
        Likelihood(form="label")


def test_a_function_that_gives_another_shape_is_named(base):
    def halves(log_prob_PL: np.ndarray) -> np.ndarray:
        return log_prob_PL[:, :1]

    with pytest.raises(InputError, match=r"correct .*halves.* gave an array of shape \[2, 1\]"):
        asked(base, correct=halves)


def test_nothing_is_drawn(base):
    one, other = (asked(base)[2] for _ in range(2))
    assert one.probabilities == other.probabilities
    assert jax.tree.all(jax.tree.map(np.array_equal, one.log_probs, other.log_probs))
