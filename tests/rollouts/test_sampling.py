"""Sampling: records extend its settings field by field, and every process gets the replies to all prompts."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import tiny_stages
from tiny_stages import BASE, NEW_TOKENS, TRAIN

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.tokenizers.tokenizer import end_ids
from reasoning.evaluation import Exam
from reasoning.experiment.reader import read_experiment
from reasoning.experiment.types import settings_of
from reasoning.generation.engine import Rollouts, build_engine
from reasoning.generation.sampler import SamplerSettings
from reasoning.objectives.correction import TruncatedImportance
from reasoning.rollouts import sampling
from reasoning.rollouts.sampling import Sampling, TruncatedSampling, sample_for_all, sampler_for
from reasoning.stages import GRPO, Collect, OnPolicyDistill

FILE = """
chains = @tasks.chains.Chains
problems = @tasks.problems.ProblemSet
problems.tasks = (chains,)
problems.split = 'test'
problems.count = 4
quiz = @evaluation.Exam
quiz.problems = problems
quiz.scores = (@rewards.accuracy.strict,)
quiz.max_new_tokens = 8
"""


@pytest.mark.parametrize("record", [Exam, Collect, GRPO])
def test_records_of_those_who_sample_have_all_fields_of_sampling(record: Any):
    assert {field.name for field in fields(Sampling)} <= {field.name for field in fields(record)}


def test_those_who_learn_from_a_policys_own_samples_may_leave_tokens_out_only_where_they_correct_for_it():
    names = {field.name for field in fields(TruncatedSampling)} - {field.name for field in fields(Sampling)}
    assert names == {"top_k", "top_p", "min_p"}
    for record in (Exam, Collect, GRPO):
        assert names <= {field.name for field in fields(record)}
    assert not names & {field.name for field in fields(OnPolicyDistill)}
    for setting in ({"top_k": 3}, {"top_p": 0.9}, {"min_p": 0.1}):
        with pytest.raises(InputError, match="the gradient is that of all of it; name a correction, such as obj"):
            tiny_stages.reinforce(**setting)
        tiny_stages.reinforce(**setting, correction=TruncatedImportance())


def test_defaults_are_those_of_sampling_unless_a_record_has_its_own():
    collect = Collect(start=BASE, problems=TRAIN, keep=(tiny_stages.early_end,), max_new_tokens=NEW_TOKENS)
    assert (collect.samples, collect.temperature, collect.chat) == (4, 1.0, ChatFormat())
    assert Exam(problems=TRAIN, scores=(), max_new_tokens=NEW_TOKENS).samples == 16


def test_an_exam_may_have_the_temperature_zero_in_a_file_where_those_who_learn_from_samples_may_not(tmp_path: Path):
    file = tmp_path / "quiz.gin"
    file.write_text(FILE + "quiz.temperature = 0\nquiz.samples = 3\n")
    quiz = read_experiment(file).part("quiz")
    assert (quiz.temperature, type(quiz.temperature), quiz.samples) == (0.0, float, 3)
    with pytest.raises(InputError, match="Collect.temperature must be above 0, not 0.0"):
        settings_of(
            Collect(start=BASE, problems=TRAIN, keep=(tiny_stages.early_end,), max_new_tokens=1, temperature=0.0)
        )


@pytest.mark.parametrize(
    ("line", "message", "caret"),
    [
        ("quiz.temperature = -0.5", "quiz.temperature must be at least 0, not -0.5", "-0.5"),
        ("quiz.temperature = '1'", "quiz.temperature must be a number, not '1'; remove the quotes", "'1'"),
        ("quiz.top_p = 0", "quiz.top_p must be above 0, not 0", "0"),
        ("quiz.top_p = 1.5", "quiz.top_p must be at most 1, not 1.5", "1.5"),
        ("quiz.top_k = -1", "quiz.top_k must be at least 0, not -1", "-1"),
        ("quiz.min_p = 2", "quiz.min_p must be at most 1, not 2", "2"),
        ("quiz.samples = 0", "quiz.samples must be at least 1, not 0", "0"),
        ("quiz.max_new_tokens = 8.5", "quiz.max_new_tokens must be a whole number, not 8.5", "8.5"),
        ("quiz.problems = 'test'", "quiz.problems must be a part of class tasks.problems.ProblemSet, not", "'test'"),
    ],
)
def test_a_wrong_value_of_an_inherited_field_is_shown_in_its_line(tmp_path: Path, line: str, message: str, caret: str):
    file = tmp_path / "quiz.gin"
    file.write_text(FILE + line + "\n")
    with pytest.raises(InputError) as complaint:
        read_experiment(file)
    said, place, below = str(complaint.value).split("\n")
    assert message in said and place.strip() == f"{file}:{1 + FILE.count(chr(10))}: {line}"
    assert below.strip() == "^" * len(caret) and place.index(caret, place.index(" = ")) == below.index("^")


def test_a_sampler_ends_at_the_chats_symbols_and_equal_settings_share_one_engine(base: Artifact):
    model, mesh, tokenizer = (getattr(tiny_stages.candidate(base), name) for name in ("model", "mesh", "tokenizer"))
    ends = end_ids(tokenizer, ChatFormat())
    engine = sampler_for(model, mesh, tokenizer, ChatFormat(), 3, NEW_TOKENS)
    assert engine is build_engine(model, mesh, SamplerSettings(3, NEW_TOKENS, ends))
    assert engine is not sampler_for(model, mesh, tokenizer, ChatFormat(), 2, NEW_TOKENS)


def fake(weights: Any, prompts: Any, ids: Any, key: Any, temperature: float, *, rows: int = 0) -> Rollouts:
    """One reply a prompt that says which prompt it answers, by its number and its own tokens."""
    tokens = np.array([[[number, *prompt]] for number, prompt in zip(ids, prompts, strict=True)]).reshape(-1, 1, 2)
    return Rollouts(tokens, tokens * -0.5, np.full(tokens.shape[:2], 2), np.zeros(tokens.shape[:2], bool))


def test_a_batch_asks_each_prompt_once_and_a_last_one_is_as_large_a_program():
    seen, prompts = [], [[10 + number] for number in range(5)]

    def generate(weights: Any, prompts: Any, ids: Any, key: Any, temperature: Any, *, rows: int) -> Rollouts:
        seen.append((list(prompts), list(ids), rows))
        return fake(weights, prompts, ids, key, temperature)

    parts = [sample_for_all(generate, None, prompts, start, 3, jax.random.key(0), 1.0) for start in (0, 3)]
    assert seen == [([[10], [11], [12]], [0, 1, 2], 3), ([[13], [14]], [3, 4], 3)]
    assert [part.tokens[:, 0].tolist() for part in parts] == [[[0, 10], [1, 11], [2, 12]], [[3, 13], [4, 14]]]


def test_a_batch_larger_than_all_problems_is_as_large_as_they_are():
    seen = []

    def generate(weights: Any, prompts: Any, ids: Any, key: Any, temperature: Any, *, rows: int) -> Rollouts:
        seen.append((len(prompts), rows))
        return fake(weights, prompts, ids, key, temperature)

    found = sample_for_all(generate, None, [[10 + number] for number in range(30)], 0, 64, jax.random.key(0), 1.0)
    assert seen == [(30, 30)] and len(found.tokens) == 30


def test_each_process_asks_its_share_and_all_get_all_in_order(monkeypatch: Any):
    prompts, shares = [[10 + number] for number in range(7)], {}

    def ask(index: int, gather: Any) -> Rollouts:
        monkeypatch.setattr(jax, "process_count", lambda: 2)
        monkeypatch.setattr(jax, "process_index", lambda: index)
        monkeypatch.setattr(sampling, "rows_of_all_processes", gather)
        return sample_for_all(fake, None, prompts, 4, 3, jax.random.key(0), 1.0)

    for index in (0, 1):
        shares[index] = []
        ask(index, lambda rows, index=index: shares[index].append(rows) or rows)
    assert [rows[0][:, 0].tolist() for rows in shares.values()] == [[[4, 14], [5, 15]], [[6, 16], [0, 0]]]
    everything = iter([np.concatenate(pair) for pair in zip(*shares.values(), strict=True)])
    assert ask(1, lambda rows: next(everything)).tokens[:, 0].tolist() == [[4, 14], [5, 15], [6, 16]]


def test_a_process_without_a_prompt_in_the_last_batch_runs_the_program_all_the_same(monkeypatch: Any):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(sampling, "rows_of_all_processes", lambda rows: rows)
    seen = []

    def generate(*arguments: Any, rows: int) -> Rollouts:
        seen.append((list(arguments[1]), list(arguments[2]), rows))
        return fake(*arguments)

    found = sample_for_all(generate, None, [[10 + number] for number in range(9)], 8, 4, jax.random.key(0), 1.0)
    assert seen == [([], [], 2)] and found.tokens.tolist() == [[[0, 0]]]  # the other process has the one prompt
