"""How much an answer rests on a step, where that is known: probabilities of a model that is written down.

Shapes: P problems, S samples.
"""

from dataclasses import replace

import jax
import numpy as np
import pytest
import tiny_stages
from tiny_stages import questions_for

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.evaluation.continuations import log_likelihoods
from reasoning.evaluation.exam import Answers
from reasoning.evaluation.methods import columns_of
from reasoning.evaluation.thinking_steps import ended_before, numbers_changed, removed, thinking_reply, true_thinking
from reasoning.evaluation.true_thinking import TrueThinking
from reasoning.generation.prompts import PromptStyle

REPLY = "<think>2+2=4,1+1=2,4+2=6</think><answer>6</answer>"
CHANGES = (removed, numbers_changed, ended_before, true_thinking)
METHOD = TrueThinking(changes=CHANGES, separator=",")


def measured(log_prob, *replies: str, method: TrueThinking = METHOD) -> dict[str, np.ndarray]:
    """The columns [P] of single replies under a model that gives an answer this log-probability after a thought."""
    thoughts = [[thinking_reply(reply, ChatFormat(), ",")] for reply in replies]
    found = method.measured(thoughts, lambda rows: np.array([log_prob(thought.text) for _, _, thought in rows]))
    return {name: values_PS[:, 0] for name, values_PS in found.items()}


def test_a_model_that_ignores_its_thought_rests_on_no_step():
    for values in measured(lambda text: np.log(0.9), REPLY).values():
        assert values.tolist() == [0.0]


def test_a_model_that_copies_the_last_step_rests_on_that_one_alone():
    def copies(text: str) -> float:
        return np.log(0.95) if text.endswith("4+2=6") else np.log(0.05)

    found = measured(copies, REPLY)
    for change in ("removed", "numbers_changed"):
        assert found[f"effect@{change}"] == pytest.approx(0.9 / 3) and found[f"steps@{change}"] == pytest.approx(1 / 3)
    assert found["steps@ended_before"] == pytest.approx(1.0)  # whatever ends before the last step
    # Of what stands before it no step ends with 6, perturbed or not; the last does, and its perturbed form doesn't.
    assert found["effect@true_thinking"] == pytest.approx(0.9 / 3)


def test_a_model_that_needs_every_step_rests_on_all():
    def adds_up(text: str) -> float:
        return 0.0 if text == "2+2=4,1+1=2,4+2=6" else -50.0

    found = measured(adds_up, REPLY)
    assert found["steps@removed"] == found["steps@numbers_changed"] == found["steps@ended_before"] == 1.0
    # After two of three steps it knows nothing yet, and after a perturbed one it never will.
    assert found["effect@true_thinking"] == pytest.approx((0 + 0 + 0.5) / 3)


def test_half_as_probable_an_answer_is_an_effect_of_half_and_the_threshold_decides_whether_it_counts():
    def halves(text: str) -> float:
        return np.log(0.8) if "1+1=2" in text else np.log(0.4)

    found = measured(halves, REPLY, method=replace(METHOD, changes=(removed,), least=0.4))
    assert found["effect@removed"] == pytest.approx(0.4 / 3) and found["steps@removed"] == pytest.approx(1 / 3)
    assert measured(halves, REPLY, method=replace(METHOD, changes=(removed,), least=0.41))["steps@removed"] == 0


def test_a_reply_without_a_thought_and_one_that_has_no_room_are_not_graded():
    found = measured(lambda text: np.nan, "<answer>6</answer>", REPLY)
    assert all(np.isnan(values).all() for values in found.values())


def test_only_right_replies_count_and_a_column_without_any_is_left_out():
    method = replace(METHOD, changes=(removed,))
    values = {"effect@removed": np.array([[0.5], [0.2]]), "steps@removed": np.array([[1.0], [0.0]])}
    scores = {"strict": np.array([[1.0], [0.0]]), "never": np.zeros((2, 1))}
    answers = Answers([[REPLY]] * 2, np.ones((2, 1)), scores | values, np.zeros((2, 1)), [["6"]] * 2)
    np.testing.assert_array_equal(columns_of(method, answers, "strict")["effect@removed"], [[0.5], [np.nan]])
    assert columns_of(method, answers, "never") == {}


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"changes": ()}, "no steps"), ({"changes": (removed, removed)}, "once"), ({"separator": "("}, "no regular")],
)
def test_settings_that_measure_nothing_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        TrueThinking(**settings)


def test_a_format_without_tags_of_thinking_is_refused():
    exam = tiny_stages.quiz(chat=replace(ChatFormat(), think_open="", think_close=""))
    with pytest.raises(InputError, match="tags of thinking"):
        METHOD.check(exam)


def test_of_a_real_model_the_answer_s_probability_is_read_behind_each_thought(base: Artifact):
    candidate = tiny_stages.candidate(base)
    questions = replace(questions_for(candidate), style=PromptStyle("think", opening="<think>"))
    reply = thinking_reply("<think>3+8=1,1-5=6</think><answer>6</answer>", ChatFormat(), ",")

    def probability(text: str) -> float:
        """Of this text alone."""
        before = candidate.tokenizer.encode(
            ChatFormat().ask(questions.problems[0].question) + f"<think>{text}</think><answer>"
        )
        after = candidate.tokenizer.encode("6</answer>")
        return float(np.exp(log_likelihoods(candidate, [(before, after)], 1)[0]))

    assert reply is not None
    values = METHOD.measured([[reply]], lambda rows: METHOD.answer_log_probs(candidate, questions, rows))
    whole, first, second = (probability(text) for text in ("3+8=1,1-5=6", "1-5=6", "3+8=1"))
    expected = (abs(whole - first) + abs(whole - second)) / 2
    assert values["effect@removed"][0, 0] == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_an_exam_has_its_columns_and_its_rows_come_back(base: Artifact):
    candidate = tiny_stages.candidate(base)
    questions = questions_for(candidate)
    answers = replace(METHOD, batch=8).replies(candidate, questions, jax.random.key(0))
    assert {"effect@removed", "steps@true_thinking"} <= set(answers.scores)
    assert all(np.array_equal(np.isnan(answers.scores[name]), answers.ungraded[name]) for name in answers.ungraded)
