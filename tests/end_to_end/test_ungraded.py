"""Completions that nobody could grade: masked in training, left out of exams and collections, told in all records."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq
import pytest
from tiny_stages import BASE, NEW_TOKENS, OPTIMIZER, TRAIN, Surroundings, early_end, examine, quiz, reinforce, work

from reasoning.core.artifact import Artifact
from reasoning.evaluation.methods import Greedy, Samples
from reasoning.evaluation.results import read_results, read_samples
from reasoning.rewards.code import Code
from reasoning.rewards.reward import UNGRADED, Judgement, Value
from reasoning.sandbox import grading
from reasoning.sandbox.grading import Sandbox
from reasoning.sandbox.records import Limits
from reasoning.stages.checkpoint import model_of, tokenizer_of
from reasoning.stages.collect import Collect
from reasoning.stages.grpo import GRPO
from reasoning.stages.trainee import trainee_of
from reasoning.training.batches import PolicyBatch
from reasoning.training.losses import policy
from reasoning.training.metrics import rollouts_file
from reasoning.training.policy_rows import every_group
from reasoning.training.state import new_state

MISSING = np.zeros((4, 4), bool)
MISSING[0, 1], MISSING[1, :3], MISSING[2] = True, True, True
"""One of a group, all but one, and a whole group that can't be graded."""


def worth(text: str) -> float:
    """A number that tells completions apart."""
    return float(len(text) % 3)


@dataclass(frozen=True)
class Places:
    """Grades all completions of a batch but those at some places, or ``None`` of these where it is ``silent``."""

    places: tuple[int, ...] = ()
    silent: bool = False

    def __call__(self, prompts: list[str], completions: list[str], **columns: Any) -> list[Value]:
        return [each.value for each in self.judge(prompts, completions)]

    def judge(self, prompts: list[str], completions: list[str], **columns: Any) -> list[Judgement]:
        lost = Judgement(None) if self.silent else Judgement(UNGRADED, "infrastructure", 3, "lost")
        return [
            lost if place in self.places else Judgement(worth(text), "passed") for place, text in enumerate(completions)
        ]


def by_length(completions: list[str], **columns: Any) -> list[float]:
    return [worth(text) for text in completions]


SOME = Places(tuple(np.flatnonzero(MISSING.reshape(-1)).tolist()))
ALL = Places(tuple(range(16)))


def batch_of(stage: GRPO, base: Artifact) -> tuple[PolicyBatch, dict[str, float], Any]:
    """What a stage's first step learns from, with its metrics and the parameters."""
    stage, context = replace(stage, rollouts_every=0), Surroundings().context()
    trainee = trainee_of(stage, base, context)
    state = new_state(trainee.start(), OPTIMIZER.build(4))
    batch, metrics = stage.source(trainee, tokenizer_of(base), Path(), context, {})(state, 0)
    assert isinstance(batch, PolicyBatch)
    return batch, dict(metrics), state.params


def gradient(base: Artifact, stage: GRPO, params: Any, batch: PolicyBatch) -> list[np.ndarray]:
    model = model_of(base, Surroundings().context().mesh)
    loss = policy(model, loss=stage.loss, kl=stage.kl, kl_coefficient=0.0, temperature=1.0)
    found = jax.jit(jax.grad(lambda params, batch: loss(params, None, batch)[0]))(params, batch)
    return [np.asarray(leaf) for leaf in jax.tree.leaves(found)]


def test_a_step_learns_as_if_ungraded_completions_had_not_been_sampled(base: Artifact):
    """Against the same rows of a step that graded all: those left out are removed, and means are over the others."""
    stage = reinforce(rewards=(by_length,), select=every_group)
    whole, _, params = batch_of(stage, base)
    some, metrics, _ = batch_of(replace(stage, rewards=(SOME,)), base)
    graded, masks = ~MISSING, np.asarray(whole.rows.mask)
    np.testing.assert_array_equal(some.rows.tokens, whole.rows.tokens)  # one draw of completions
    np.testing.assert_array_equal(some.rows.mask, masks * graded.reshape(-1, 1))
    all_kept, _, _ = batch_of(replace(stage, advantage=total), base)
    rewards = np.asarray(all_kept.advantages[:, 0], np.float64).reshape(4, 4)
    advantages = np.zeros((4, 4))
    for group, known in enumerate(graded):
        own = rewards[group, known]
        if len(own) > 1:
            advantages[group, known] = (own - own.mean()) / (own.std(ddof=1) + 1e-4)
    np.testing.assert_allclose(some.advantages[:, 0], advantages.reshape(-1), atol=1e-5)
    assert np.abs(advantages).max() > 0.5 and metrics["reward"] == pytest.approx(
        np.mean([rewards[group, known].mean() for group, known in enumerate(graded) if known.any()])
    )
    rows = np.flatnonzero(graded)
    kept = jax.tree.map(lambda leaf: leaf[rows], whole)
    mask = np.asarray(kept.rows.mask)
    alone = replace(
        kept,
        rows=replace(kept.rows, weights=jnp.asarray(mask / mask.sum())),
        advantages=jnp.broadcast_to(jnp.float32(advantages.reshape(-1)[rows, None]), mask.shape),
    )
    ours, theirs = (gradient(base, stage, params, batch) for batch in (some, alone))
    assert max(np.abs(leaf).max() for leaf in theirs) > 1e-3
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def total(rewards_PG: Any) -> Any:
    """An advantage that is the reward itself."""
    return rewards_PG


def test_only_groups_that_differ_among_the_graded_give_a_signal(base: Artifact):
    batch, metrics, _ = batch_of(reinforce(rewards=(SOME,)), base)
    learnt = np.asarray(batch.rows.mask).reshape(4, 4, -1).any(axis=2)
    assert not learnt[MISSING].any() and not learnt[1:3].any() and learnt[3].all()
    assert metrics["rewards/Places/ungraded"] == MISSING.mean()


def test_a_run_of_which_nothing_is_graded_learns_nothing_warns_and_keeps_records(base: Artifact, tmp_path: Path):
    surroundings = Surroundings()
    made = work(reinforce(steps=3, rewards=(ALL,)), tmp_path, {"start": base}, surroundings)
    assert made.hash == base.hash
    [warning] = surroundings.warnings
    assert warning.startswith("stage zero: in the last 3 steps up to step 3 no reply was graded, so nothing was learnt")
    row = made.metrics()[0]
    assert row["rewards/Places/ungraded"] == row["rewards/Places/verdict/infrastructure"] == 1 and row["grad_norm"] == 0
    assert np.isnan(float(row["reward"])) and np.isnan(float(row["rewards/Places/mean"]))


def test_rollouts_have_no_reward_for_what_was_not_graded_and_say_why(base: Artifact, tmp_path: Path):
    made = work(reinforce(steps=1, rewards=(SOME,), select=every_group), tmp_path, {"start": base})
    rows = pq.read_table(rollouts_file(made.path, 1)).to_pylist()
    for row, missing in zip(rows, MISSING.reshape(-1), strict=True):
        reasons = tuple(row[f"{name}/Places"] for name in ("verdicts", "failing", "details"))
        assert reasons == (("infrastructure", 3, "lost") if missing else ("passed", None, ""))
        value = None if missing else worth(row["completion"])
        assert row["reward"] == row["rewards/Places"] == value and (not missing or row["advantage"] == 0)


def test_a_run_in_which_all_is_graded_is_the_same_to_the_last_bit_as_without_reasons(base: Artifact, tmp_path: Path):
    """And what a reward doesn't apply to adds nothing and counts, as it did before anything could be ungraded."""
    silent, zero = Places(SOME.places, silent=True), Places()
    weights = {"reward_weights": (1.0, 0.5)}
    pairs = [((by_length,), (zero,), {}), ((early_end, silent), (early_end, Silenced(SOME.places)), weights)]
    for number, (one, other, settings) in enumerate(pairs):
        stages = [reinforce(rewards=rewards, **settings) for rewards in (one, other)]
        first, second = (
            work(stage, tmp_path / f"{number}{place}", {"start": base}) for place, stage in enumerate(stages)
        )
        assert first.hash == second.hash != base.hash
        tables = [pq.read_table(rollouts_file(made.path, 2)) for made in (first, second)]
        for name in ("reward", "advantage", "completion", "sampler_log_probs"):
            assert tables[0][name].to_pylist() == tables[1][name].to_pylist()


@dataclass(frozen=True)
class Silenced:
    """As ``Places``, but 0 in place of None, which comes to the same sum."""

    places: tuple[int, ...]

    def __call__(self, completions: list[str], **columns: Any) -> list[float]:
        return [0.0 if place in self.places else worth(text) for place, text in enumerate(completions)]


@dataclass(frozen=True)
class Doubtful:
    """Right is a reply whose length is even; those of some lengths can't be graded."""

    lost: tuple[int, ...] = (2, 3)

    def __call__(self, prompts: list[str], completions: list[str], **columns: Any) -> list[Value]:
        return [each.value for each in self.judge(prompts, completions)]

    def judge(self, prompts: list[str], completions: list[str], **columns: Any) -> list[Judgement]:
        return [
            Judgement(UNGRADED, "timed_out") if len(text) in self.lost else Judgement(1.0 - len(text) % 2, "seen")
            for text in completions
        ]


def test_an_exams_numbers_are_of_what_was_graded_and_say_how_much_was_not(base: Artifact, tmp_path: Path):
    lengths = Doubtful(tuple(range(0, 40, 3)))
    exam = quiz(scores=(lengths,), rates=(), samples=4)
    methods = (Greedy(), Samples(ks=(2,), votes=(2,)))
    made = work(examine(BASE, quiz=exam, methods=methods), tmp_path, {"checkpoints": (base,)})
    rows = [row for row in read_samples(made.path / "samples.jsonl") if row.method == "samples"]
    values = [row.scores["Doubtful"] for row in rows]
    for row in rows:
        judged = lengths.judge([], list(row.texts))
        assert row.scores["Doubtful"] == tuple(None if each.value == UNGRADED else each.value for each in judged)
        assert row.reasons["Doubtful"] == tuple((each.verdict, None, "") for each in judged)
    scores = read_results(made.path).checkpoints["base"]
    known = [[value for value in each if value is not None] for each in values]
    share = sum(map(len, known)) / 16
    assert 0 < share < 1 and scores["Doubtful/pass@1"].ungraded == 1 - share
    assert scores["Doubtful/pass@1"].mean == pytest.approx(np.mean([np.mean(each) for each in known if each]))
    pairs = [[max(pair) for pair in combinations(each, 2)] for each in known if len(each) > 1]
    assert scores["Doubtful/pass@2"].mean == pytest.approx(np.mean([np.mean(each) for each in pairs]))
    assert scores["Doubtful/pass@1"].n == sum(map(bool, known)) and scores["Doubtful/pass@2"].n == len(pairs)
    assert scores["length"].ungraded == 0 and scores["length"].n == 4
    written = json.loads((made.path / "results.json").read_text())["checkpoints"]["base"]
    assert written["Doubtful/pass@1"]["ungraded"] == 1 - share and "ungraded" not in written["length"]


def test_nothing_is_collected_that_was_not_graded(base: Artifact, tmp_path: Path):
    keep = Doubtful(tuple(range(0, 40, 4)))
    settings = {"start": BASE, "problems": TRAIN, "keep": (keep,), "max_new_tokens": NEW_TOKENS, "samples": 6}
    made = work(Collect(name="data", **settings), tmp_path, {"start": base})
    rows = read_samples(made.path / "samples.jsonl")
    seen = [(len(text), value, kept) for row in rows for text, value, kept in replies(row)]
    assert {value for _, value, _ in seen} == {None, 0.0, 1.0}
    assert all((value is None) == (length % 4 == 0) for length, value, _ in seen)
    assert any(kept for *_, kept in seen) and not any(kept and value != 1 for _, value, kept in seen)
    assert any("timed_out" in {verdict for verdict, _, _ in row.reasons["Doubtful"]} for row in rows)


def replies(row: Any) -> Any:
    return zip(row.texts, row.scores["Doubtful"], row.kept, strict=True)


@dataclass(frozen=True)
class Programs:
    """Grades in place of each completion a program, right where the completion ended early."""

    code: Code = Code(sandbox=Sandbox(workers=1, remembered=0), limits=Limits(cpu_seconds=5.0, wall_seconds=30.0))

    def __call__(
        self, prompts: list[str], completions: list[str], truncated: list[bool], **columns: Any
    ) -> list[Value]:
        return [each.value for each in self.judge(prompts, completions, truncated)]

    def judge(
        self, prompts: list[str], completions: list[str], truncated: list[bool], **columns: Any
    ) -> list[Judgement]:
        programs = [f"<answer>def f(x): return {'x + 1' if cut else '2 * x'}</answer>" for cut in truncated]
        tests = [{"function": "f", "arguments": [5], "result": 10}]
        return self.code.judge(prompts, programs, tests=[tests] * len(programs))


def killing(monkeypatch: pytest.MonkeyPatch, due: Callable[[int], bool]) -> list[int]:
    """Kills the sandbox's supervisor right after the jobs, counted from 1, that are ``due``; which were sent."""
    sent: list[int] = []
    send = grading._send

    def sending(pool: Any, message: Any) -> None:
        send(pool, message)
        if "job" in message:
            sent.append(len(sent) + 1)
            if due(len(sent)):
                pool.process.kill()
                pool.process.wait()

    monkeypatch.setattr(grading, "_send", sending)
    return sent


def test_a_grader_that_dies_is_asked_again_and_then_masked_and_the_run_goes_on(
    base: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stage = reinforce(steps=3, rewards=(Programs(),))

    def run(name: str, due: Callable[[int], bool]) -> tuple[Artifact, int]:
        with monkeypatch.context() as patched:
            sent = killing(patched, due)
            return work(stage, tmp_path / name, {"start": base}), len(sent)

    (sound, usual), (once, more) = run("sound", lambda sent: False), run("once", lambda sent: sent == 3)
    assert usual == 6 < more  # a right program and a wrong one a step
    assert once.hash == sound.hash and once.metrics() == sound.metrics()
    never, _ = run("never", lambda sent: sent > 2)
    first, second, third = never.metrics()
    assert first == sound.metrics()[0] and first["rewards/Programs/verdict/passed"] > 0
    for row in (second, third):
        assert row["rewards/Programs/ungraded"] == row["rewards/Programs/verdict/infrastructure"] == 1
        assert row["grad_norm"] == 0
    rows = pq.read_table(rollouts_file(never.path, 2)).to_pylist()
    assert {row["verdicts/Programs"] for row in rows} == {"infrastructure"}
    assert {row["reward"] for row in rows} == {None} and {row["advantage"] for row in rows} == {0.0}
