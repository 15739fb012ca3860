"""Exams: the same questions give the same replies however they are batched, and what can't be asked is refused."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import tiny_stages
import tokenizers
from tiny_stages import HALVES, NEW_TOKENS, REFUSED, Surroundings, questions_for, quiz

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.prng import stage_key
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.formats import SMOLLM_2
from reasoning.data.tokenizers.byte_level import from_bpe
from reasoning.data.tokenizers.tokenizer_json import JsonTokenizer
from reasoning.evaluation.exam import Answers, ask, check_exam, questions_of
from reasoning.generation.prompts import PromptStyle, thinking
from reasoning.models.model import build_model, init_sharded
from reasoning.rewards import numbers
from reasoning.rewards.accuracy import strict
from reasoning.rewards.reward import Reading
from reasoning.rewards.text import read_answer
from reasoning.rollouts.sampling import sampler_for
from reasoning.rollouts.text import decode_replies, encode_prompts
from reasoning.stages.checkpoint import save, tokenizer_of

KEY = stage_key(0, "exam")


def asked(base: Artifact, temperature: float, **changes: Any) -> Answers:
    candidate = tiny_stages.candidate(base, quiz(**changes))
    return ask(candidate, questions_for(candidate), KEY, temperature=temperature)


def test_replies_do_not_depend_on_the_size_of_a_batch(base: Artifact):
    whole = asked(base, 1.0)
    parts = asked(base, 1.0, batch=3)  # the last batch is filled up
    assert whole.texts == parts.texts and len(whole.texts) == 4 and {len(group) for group in whole.texts} == {4}
    np.testing.assert_array_equal(whole.lengths, parts.lengths)
    assert len({text for group in whole.texts for text in group}) > 6  # they are samples, not copies


def test_at_temperature_zero_all_samples_of_a_problem_are_equal(base: Artifact):
    answers = asked(base, 0.0)
    assert all(len(set(group)) == 1 for group in answers.texts)
    assert len({group[0] for group in answers.texts}) > 1


def test_scores_and_rates_have_a_value_a_reply(base: Artifact):
    answers = asked(base, 1.0)
    assert set(answers.scores) == {"strict", "lenient", "tagged"}
    assert {values.shape for values in answers.scores.values()} == {(4, 4)}
    assert answers.lengths.shape == (4, 4) and 1 <= answers.lengths.min() and answers.lengths.max() <= NEW_TOKENS


def test_a_score_that_does_not_apply_to_a_reply_is_refused(base: Artifact):
    def absent(completions: list[str], **columns: Any) -> list[float | None]:
        return [None] * len(completions)

    with pytest.raises(InputError, match="the score absent gave None"):
        asked(base, 1.0, scores=(absent,))


def test_an_exam_that_does_not_fit_the_context_is_refused(base: Artifact):
    with pytest.raises(InputError, match="more than the model's context of 32"):
        questions_of(quiz(max_new_tokens=29), tokenizer_of(base), 32)


def test_a_problem_that_a_score_cannot_judge_is_refused_before_anything_is_asked(base: Artifact):
    for changes in ({"scores": (numbers.number,)}, {"rates": (numbers.number,)}):
        with pytest.raises(InputError, match=REFUSED):
            questions_of(quiz(problems=HALVES, **changes), tokenizer_of(base), 32)


def test_a_style_reads_on_in_the_prompt_and_its_opening_is_part_of_the_reply(base: Artifact):
    tokenizer, chat = tokenizer_of(base), ChatFormat()
    style = PromptStyle("begun", instruction="=", opening="<think>1")
    questions = questions_of(quiz(style=style), tokenizer, 32)
    texts = [tokenizer.decode(prompt) for prompt in questions.prompts]
    expected = [f"<|user|>{problem.question}=<|assistant|><think>1" for problem in tiny_stages.TEST.problems()]
    assert texts == expected
    candidate = tiny_stages.candidate(base)
    engine = sampler_for(candidate.model, candidate.mesh, tokenizer, chat, 4, NEW_TOKENS)
    rollouts = engine.generate(candidate.weights, questions.prompts, range(4), KEY, 1.0)
    written = decode_replies(tokenizer, rollouts, chat, "")
    answers = asked(base, 1.0, style=style)
    assert answers.texts == [["<think>1" + text for text in group] for group in written]
    np.testing.assert_array_equal(answers.lengths, rollouts.lengths)
    assert questions_of(quiz(), tokenizer, 32, style).prompts == questions.prompts
    assert encode_prompts(questions.problems, chat, tokenizer, 8, 32, style) == questions.prompts


def test_log_probs_are_of_whole_replies_and_an_answer_is_what_a_whole_reply_says(base: Artifact):
    candidate = tiny_stages.candidate(base)
    answers = asked(base, 1.0)
    engine = sampler_for(candidate.model, candidate.mesh, candidate.tokenizer, ChatFormat(), 4, NEW_TOKENS)
    rollouts = engine.generate(candidate.weights, questions_for(candidate).prompts, range(4), KEY, 1.0)
    np.testing.assert_allclose(answers.log_probs, rollouts.log_probs.sum(-1), rtol=1e-5)
    for problem, *group in zip(
        tiny_stages.TEST.problems(), answers.texts, answers.answers, rollouts.truncated, strict=True
    ):
        for text, given, cut in zip(*group, strict=True):
            assert given == (None if cut else read_answer(text, problem.answer, ChatFormat()))


def test_a_score_that_reads_answers_itself_says_what_votes_count(base: Artifact):
    @dataclass(frozen=True)
    class Counting:
        def __call__(self, completions: list[str], **columns: Any) -> list[float]:
            return [1.0] * len(completions)

        def read(self, completion: str, answer: str, chat: ChatFormat) -> str | None:
            return f"{len(completion)} of {answer}"

    whole = asked(base, 1.0)
    answers = asked(base, 1.0, scores=(strict, Counting()))
    assert isinstance(Counting(), Reading) and not isinstance(strict, Reading)
    for problem, *group in zip(tiny_stages.TEST.problems(), answers.texts, answers.answers, whole.answers, strict=True):
        for text, given, usual in zip(*group, strict=True):
            assert given in (None, f"{len(text)} of {problem.answer}")
            assert given is not None or usual is None  # cut off


def test_number_and_temperature_are_the_exams_unless_given_and_fewer_samples_are_the_first(base: Artifact):
    candidate = tiny_stages.candidate(base)
    questions = questions_for(candidate)
    everything = ask(candidate, questions, KEY)
    assert everything.texts == asked(base, 1.0).texts
    two = ask(candidate, questions, KEY, samples=2)
    assert two.texts == [group[:2] for group in everything.texts]
    cold = tiny_stages.candidate(base, quiz(temperature=0.0))
    assert ask(cold, questions, KEY).texts == ask(candidate, questions, KEY, temperature=0.0).texts


def test_a_picked_reply_keeps_all_that_is_known_of_it(base: Artifact):
    answers, chosen = asked(base, 1.0), [2, 0, 1, 2]
    picked = answers.pick(np.array(chosen))
    for problem, number in enumerate(chosen):
        assert picked.texts[problem] == [answers.texts[problem][number]]
        assert picked.answers[problem] == [answers.answers[problem][number]]
        for name in ("lengths", "log_probs"):
            assert getattr(picked, name)[problem].tolist() == [getattr(answers, name)[problem, number]]
        for name, values in answers.scores.items():
            assert picked.scores[name][problem].tolist() == [values[problem, number]]


def test_scores_and_rates_of_one_name_are_refused():
    with pytest.raises(InputError, match="an exam has two functions named strict"):
        replace(quiz(), rates=(strict,))


def test_replies_are_the_same_on_several_devices(base: Artifact):
    candidate = tiny_stages.candidate(base, quiz(batch=3), devices=2)
    assert ask(candidate, questions_for(candidate), KEY).texts == asked(base, 1.0).texts
    assert len(jax.tree.leaves(candidate.weights)[0].devices()) == 2


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


def test_an_exam_whose_replies_to_a_batch_no_memory_holds_is_refused():
    mesh = tiny_stages.Surroundings().context().mesh
    check_exam(tiny_stages.quiz(), mesh, "the replies")
    with pytest.raises(InputError, match=r"the replies are [\d,]{20,} tokens, .* the devices hold"):
        check_exam(tiny_stages.quiz(samples=2**24, max_new_tokens=2**24), mesh, "the replies")
