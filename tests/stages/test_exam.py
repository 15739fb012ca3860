"""Exams: the same questions give the same replies however they are batched, and what can't be asked is refused."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
import tiny_stages
from tiny_stages import NEW_TOKENS, Surroundings, quiz

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.prng import stage_key
from reasoning.data.chat import ChatFormat
from reasoning.generation.engine import Rollouts
from reasoning.models.model import Model
from reasoning.rewards.accuracy import strict
from reasoning.stages.exam import Answers, ask, encode_prompts, exam_engine, replies
from reasoning.stages.saved import model_of, params_of, tokenizer_of
from reasoning.tasks.problems import Problem


def model_on_one_device(base: Artifact) -> Model:
    return model_of(base, Surroundings().context().mesh)


def asked(base: Artifact, temperature: float, **changes: Any) -> Answers:
    exam, mesh, tokenizer = quiz(**changes), Surroundings().context().mesh, tokenizer_of(base)
    model = model_on_one_device(base)
    engine = exam_engine(exam, model, mesh, tokenizer, exam.samples)
    weights = engine.publish(params_of(base, model, mesh))
    return ask(exam, engine, weights, tokenizer, stage_key(0, "exam"), temperature)


def test_replies_do_not_depend_on_the_size_of_a_batch(base: Artifact):
    whole = asked(base, 1.0)
    parts = asked(base, 1.0, batch=3)  # the last batch is filled up
    assert whole.texts == parts.texts and len(whole.texts) == 4 and {len(group) for group in whole.texts} == {3}
    np.testing.assert_array_equal(whole.lengths, parts.lengths)
    assert len({text for group in whole.texts for text in group}) > 6  # they are samples, not copies


def test_at_temperature_zero_all_samples_of_a_problem_are_equal(base: Artifact):
    answers = asked(base, 0.0)
    assert all(len(set(group)) == 1 for group in answers.texts)
    assert len({group[0] for group in answers.texts}) > 1


def test_scores_and_rates_have_a_value_a_reply(base: Artifact):
    answers = asked(base, 1.0)
    assert set(answers.scores) == {"strict", "lenient", "tagged"}
    assert {values.shape for values in answers.scores.values()} == {(4, 3)}
    assert answers.lengths.shape == (4, 3) and 1 <= answers.lengths.min() and answers.lengths.max() <= NEW_TOKENS


def test_a_score_that_does_not_apply_to_a_reply_is_refused(base: Artifact):
    def absent(completions: list[str], **columns: Any) -> list[float | None]:
        return [None] * len(completions)

    with pytest.raises(InputError, match="the score absent gave None"):
        asked(base, 1.0, scores=(absent,))


def test_replies_are_without_the_end_symbol_and_ids_without_text_show_as_unknown(base: Artifact):
    tokenizer = tokenizer_of(base)
    end, size = tokenizer.symbol_id("<|end|>"), tokenizer.vocabulary_size
    two, tag = tokenizer.encode("2")[0], tokenizer.symbol_id("<answer>")
    tokens = np.array([[[two, end, 0], [tag, size + 5, two]]])
    lengths = np.array([[2, 3]])
    rollouts = Rollouts(tokens, np.zeros((1, 2, 3)), lengths, np.array([[False, True]]))
    assert replies(tokenizer, rollouts, end) == [["2", "<answer>\ufffd2"]]
    only_end = Rollouts(np.array([[[end]]]), np.zeros((1, 1, 1)), np.array([[1]]), np.array([[False]]))
    assert replies(tokenizer, only_end, end) == [[""]]


def test_prompts_are_the_chats_and_one_without_room_is_refused_with_the_numbers(base: Artifact):
    tokenizer, chat = tokenizer_of(base), ChatFormat()
    problems = (Problem("1+1?", "2", "sums"), Problem("1+1+1?", "3", "sums"))  # a term is one token
    prompts = encode_prompts(problems, chat, tokenizer, 8, 14)
    assert [tokenizer.decode(prompt) for prompt in prompts] == [chat.prompt(problem.question) for problem in problems]
    message = "the prompt '1[+]1[+]1[?]' of 6 tokens and 8 new ones make 14, more than the model's context of 13"
    with pytest.raises(InputError, match=message):
        encode_prompts(problems, chat, tokenizer, 8, 13)


def test_a_chat_whose_symbols_the_tokenizer_lacks_is_refused(base: Artifact):
    with pytest.raises(InputError, match="no single id for '<reason>'"):
        encode_prompts(tiny_stages.TEST.problems(), ChatFormat(think_open="<reason>"), tokenizer_of(base), 1, 32)


def test_an_exam_that_does_not_fit_is_refused_before_anything_is_sampled(base: Artifact):
    exam, mesh = quiz(max_new_tokens=29), Surroundings().context().mesh
    with pytest.raises(InputError, match="more than the model's context of 32"):
        exam_engine(exam, model_on_one_device(base), mesh, tokenizer_of(base), 1)


def test_scores_and_rates_of_one_name_are_refused():
    with pytest.raises(InputError, match="an exam has two functions named strict"):
        replace(quiz(), rates=(strict,))


def test_replies_are_the_same_on_several_devices(base: Artifact):
    exam, tokenizer = quiz(batch=3), tokenizer_of(base)
    mesh = Surroundings(devices=2).context().mesh
    model = model_of(base, mesh)
    engine = exam_engine(exam, model, mesh, tokenizer, exam.samples)
    weights = engine.publish(params_of(base, model, mesh))
    assert ask(exam, engine, weights, tokenizer, stage_key(0, "exam"), 1.0).texts == asked(base, 1.0).texts
    assert len(jax.tree.leaves(weights)[0].devices()) == 2
