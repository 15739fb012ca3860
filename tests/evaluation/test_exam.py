"""Exams: the same questions give the same replies however they are batched, and what can't be asked is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import tiny_stages
import tokenizers
from tiny_stages import NEW_TOKENS, Surroundings, quiz

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.prng import stage_key
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.formats import SMOLLM_2
from reasoning.data.tokenizers.byte_level import from_bpe
from reasoning.data.tokenizers.tokenizer import end_ids
from reasoning.data.tokenizers.tokenizer_json import JsonTokenizer
from reasoning.evaluation.exam import Answers, ask, beam_engine, questions_of, sampling_engine
from reasoning.generation.beam import BeamSettings, build_beam
from reasoning.generation.engine import Rollouts
from reasoning.generation.prompts import PromptStyle, thinking
from reasoning.models.model import Model, build_model, init_sharded
from reasoning.rewards.accuracy import strict
from reasoning.rewards.text import said
from reasoning.rollouts.text import decode_replies, encode_prompts
from reasoning.stages.checkpoint import model_of, params_of, save, tokenizer_of
from reasoning.tasks.problems import Problem


def model_on_one_device(base: Artifact) -> Model:
    return model_of(base, Surroundings().context().mesh)


def asked(base: Artifact, temperature: float, **changes: Any) -> Answers:
    exam, mesh, tokenizer = quiz(**changes), Surroundings().context().mesh, tokenizer_of(base)
    model = model_on_one_device(base)
    engine = sampling_engine(exam, model, mesh, tokenizer, exam.samples)
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
    assert decode_replies(tokenizer, rollouts, ChatFormat(), "") == [["2", "<answer>\ufffd2"]]
    assert decode_replies(tokenizer, rollouts, ChatFormat(), "so ") == [["so 2", "so <answer>\ufffd2"]]
    only_end = Rollouts(np.array([[[end]]]), np.zeros((1, 1, 1)), np.array([[1]]), np.array([[False]]))
    assert decode_replies(tokenizer, only_end, ChatFormat(), "") == [[""]]


def test_a_nul_shows_as_unknown_since_no_json_of_ours_may_hold_one():
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokenizer = JsonTokenizer(from_bpe(["<|end|>", *alphabet], [], ["<|end|>"], [], "gpt2"))
    [letter], [nul] = tokenizer.encode("a"), tokenizer.encode("\0")
    rollouts = Rollouts(np.array([[[letter, nul]]]), np.zeros((1, 1, 2)), np.array([[2]]), np.array([[True]]))
    assert decode_replies(tokenizer, rollouts, ChatFormat(marks=("<|end|>",)), "") == [["a\ufffd"]]


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


def test_an_exam_that_does_not_fit_the_context_is_refused(base: Artifact):
    with pytest.raises(InputError, match="more than the model's context of 32"):
        questions_of(quiz(max_new_tokens=29), tokenizer_of(base), 32)


def test_a_style_reads_on_in_the_prompt_and_its_opening_is_part_of_the_reply(base: Artifact):
    tokenizer, chat = tokenizer_of(base), ChatFormat()
    style = PromptStyle("begun", instruction="=", opening="<think>1")
    questions = questions_of(quiz(style=style), tokenizer, 32)
    texts = [tokenizer.decode(prompt) for prompt in questions.prompts]
    expected = [f"<|user|>{problem.question}=<|assistant|><think>1" for problem in tiny_stages.TEST.problems()]
    assert texts == expected
    model, mesh = model_on_one_device(base), Surroundings().context().mesh
    engine = sampling_engine(quiz(), model, mesh, tokenizer, 3)
    weights = engine.publish(params_of(base, model, mesh))
    rollouts = engine.generate(weights, questions.prompts, range(4), stage_key(0, "exam"), 1.0)
    written = decode_replies(tokenizer, rollouts, chat, "")
    answers = asked(base, 1.0, style=style)
    assert answers.texts == [["<think>1" + text for text in group] for group in written]
    np.testing.assert_array_equal(answers.lengths, rollouts.lengths)
    assert questions_of(quiz(), tokenizer, 32, style).prompts == questions.prompts
    assert encode_prompts(questions.problems, chat, tokenizer, 8, 32, style) == questions.prompts


def test_the_room_counts_from_behind_the_opening(base: Artifact):
    tokenizer, problems = tokenizer_of(base), (Problem("1+1?", "2", "sums"),)
    style = PromptStyle("begun", opening="<think>1")
    assert len(encode_prompts(problems, ChatFormat(), tokenizer, 8, 15, style)[0]) == 7
    with pytest.raises(InputError, match="of 7 tokens and 8 new ones make 15, more than the model's context of 14"):
        encode_prompts(problems, ChatFormat(), tokenizer, 8, 14, style)


def test_log_probs_are_of_whole_replies_and_questions_at_hand_change_nothing(base: Artifact):
    exam, mesh, tokenizer = quiz(), Surroundings().context().mesh, tokenizer_of(base)
    model = model_on_one_device(base)
    engine = sampling_engine(exam, model, mesh, tokenizer, exam.samples)
    weights = engine.publish(params_of(base, model, mesh))
    questions = questions_of(exam, tokenizer, 32)
    key = stage_key(0, "exam")
    answers = ask(exam, engine, weights, tokenizer, key, 1.0, questions)
    plain = asked(base, 1.0)
    assert answers.texts == plain.texts
    rollouts = engine.generate(weights, questions.prompts, range(4), key, 1.0)
    np.testing.assert_allclose(answers.log_probs, rollouts.log_probs.sum(-1), rtol=1e-5)
    for text, given, cut in zip(
        np.ravel(answers.texts), np.ravel(answers.said), np.ravel(rollouts.truncated), strict=True
    ):
        assert given == (None if cut else said(str(text), ChatFormat()))


def test_a_beam_search_answers_once_with_its_best(base: Artifact):
    exam, mesh, tokenizer = quiz(), Surroundings().context().mesh, tokenizer_of(base)
    model = model_on_one_device(base)
    engine = beam_engine(exam, model, mesh, tokenizer, 3)
    weights = engine.publish(params_of(base, model, mesh))
    answers = ask(exam, engine, weights, tokenizer, stage_key(0, "exam"), 0.0)
    settings = BeamSettings(3, NEW_TOKENS, end_ids(tokenizer, ChatFormat()))
    best = build_beam(model, mesh, settings)(weights, questions_of(exam, tokenizer, 32).prompts)
    np.testing.assert_array_equal(answers.lengths[:, 0], best.rollouts.lengths[:, 0])
    np.testing.assert_allclose(answers.log_probs[:, 0] / answers.lengths[:, 0], best.scores[:, 0], rtol=1e-4)
    assert all(len(group) == 1 for group in answers.texts)


def test_scores_and_rates_of_one_name_are_refused():
    with pytest.raises(InputError, match="an exam has two functions named strict"):
        replace(quiz(), rates=(strict,))


def test_replies_are_the_same_on_several_devices(base: Artifact):
    exam, tokenizer = quiz(batch=3), tokenizer_of(base)
    mesh = Surroundings(devices=2).context().mesh
    model = model_of(base, mesh)
    engine = sampling_engine(exam, model, mesh, tokenizer, exam.samples)
    weights = engine.publish(params_of(base, model, mesh))
    assert ask(exam, engine, weights, tokenizer, stage_key(0, "exam"), 1.0).texts == asked(base, 1.0).texts
    assert len(jax.tree.leaves(weights)[0].devices()) == 2


MARKS = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]


def test_a_model_of_another_makers_vocabulary_is_examined_in_its_familys_format(tmp_path: Path):
    mesh = Surroundings().context().mesh
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokenizer = JsonTokenizer(from_bpe([*MARKS, *letters], [], MARKS, [], "smollm"))  # tags are no single ids
    model = build_model(replace(tiny_stages.MODEL, vocabulary=270, context=200, embedding_std=0.01), mesh)
    params = init_sharded(model, mesh, jax.random.key(3))
    outcome = save(tmp_path, model, params, tokenizer, {})
    base = Artifact(tmp_path, outcome.kind, "base", outcome.array_hash, outcome.results)
    style = thinking(SMOLLM_2)
    answers = asked(base, 1.0, chat=SMOLLM_2, style=style, samples=40)
    texts = [text for group in answers.texts for text in group]
    assert all(text.startswith("<think>") for text in texts)
    assert any("\ufffd" in text for text in texts)  # the model has eleven rows that stand for no token
    assert not any(text.endswith(mark) for text in texts for mark in MARKS[1:])
    questions = questions_of(quiz(chat=SMOLLM_2), tokenizer_of(base), 200, style)
    assert tokenizer.decode(questions.prompts[0]) == SMOLLM_2.ask(questions.problems[0].question) + "<think>"
    ended = answers.lengths < NEW_TOKENS
    assert ended.any() and not ended.all()
