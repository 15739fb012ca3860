"""Distillation: a student comes to say what its teacher says, on data and on its own words, whatever their widths."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import divergences
import full_softmax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_stages
from batched import token_batch
from scipy.special import log_softmax
from sentencepiece import sentencepiece_model_pb2
from tiny_stages import BASE, CORPUS, LENGTH, MODEL, NEW_TOKENS, OPTIMIZER, TRAIN, Surroundings, quiz, untrained, work

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.core.prng import data_seed
from reasoning.data.pipeline import token_batches
from reasoning.data.records import read_records, take_rows
from reasoning.data.sources import Generated
from reasoning.data.tokenizers.sentencepiece import SENTENCEPIECE_FILE
from reasoning.models.config import BlockKind, Stack
from reasoning.models.lora import LoRA
from reasoning.objectives.aggregation import constant_length, token_mean
from reasoning.objectives.divergence import JSD, forward, reverse
from reasoning.stages import Distill, OnPolicyDistill
from reasoning.stages.checkpoint import model_of, params_of, tokenizer_of
from reasoning.stages.held_out import split_rows
from reasoning.stages.trainee import sampler_of, trainee_of
from reasoning.training.batches import TokenBatch
from reasoning.training.preemption import Interrupted

SMALL = replace(MODEL, width=12, mlp_width=16, stacks=(Stack(2, (BlockKind("swiglu"),)),), qkv_bias=True)
STUDENT = replace(BASE, name="student", model=SMALL)
TWIN = replace(BASE, name="twin")


@pytest.fixture(scope="session")
def student(workshop: Path, corpus: Artifact) -> Artifact:
    """A student of another width, depth and kind than the teacher, which has learnt nothing."""
    return untrained(workshop, "student", SMALL, corpus)


def by_logits(**changes: Any) -> Distill:
    settings = {"start": STUDENT, "teacher": BASE, "data": tiny_stages.DEMONSTRATIONS, "optimizer": OPTIMIZER}
    return Distill(**{"name": "distilled", **settings, "steps": 6, "batch": 8, **changes})


def on_policy(**changes: Any) -> OnPolicyDistill:
    settings = {"start": STUDENT, "teacher": BASE, "problems": TRAIN, "optimizer": OPTIMIZER}
    sizes = {"steps": 2, "questions": 4, "samples": 4, "max_new_tokens": NEW_TOKENS}
    return OnPolicyDistill(**{"name": "followed", **settings, **sizes, **changes})


def inputs(student: Artifact, teacher: Artifact, **others: Artifact) -> dict[str, Artifact]:
    return {"start": student, "teacher": teacher, **others}


def log_probs(artifact: Artifact, batch: TokenBatch, temperature: float) -> np.ndarray:
    mesh = Surroundings().context().mesh
    model = model_of(artifact, mesh)
    return full_softmax.log_probs_BTV(model, params_of(artifact, model, mesh), batch, temperature)


def first_batch(examples: Artifact, stage: Distill) -> TokenBatch:
    """The rows of the first step, drawn as the data's own order says."""
    seed = data_seed(0, stage.name)
    batches = token_batches(
        read_records(examples.records_folder), batch_size=8, seed=seed, process_index=0, process_count=1, prefetch=0
    )
    rows = {name: jnp.asarray(values) for name, values in batches[0].items()}
    return token_batch(rows, stage.aggregate, LENGTH)


@pytest.mark.parametrize(
    ("divergence", "name"),
    [
        (forward, "kl"),
        pytest.param(reverse, "kl", marks=pytest.mark.slow),
        pytest.param(JSD(0.3), "jsd", marks=pytest.mark.slow),
    ],
)
def test_the_first_loss_is_the_divergence_from_the_teacher_over_the_replies_of_the_first_batch(
    base: Artifact, student: Artifact, examples: Artifact, tmp_path: Path, divergence: Any, name: str
):
    temperature, coefficient = 1.5, 0.25
    stage = by_logits(
        steps=1,
        divergence=divergence,
        temperature=temperature,
        cross_entropy_coefficient=coefficient,
        aggregate=constant_length,
    )
    made = work(stage, tmp_path, inputs(student, base, data=examples))
    [row], batch = made.metrics(), first_batch(examples, stage)
    log_p, log_q = log_probs(base, batch, temperature), log_probs(student, batch, temperature)
    divergence_BT = divergences.definition(divergence, log_p, log_q)
    surprise = -full_softmax.picked_BT(log_probs(student, batch, 1.0), batch)
    mask = np.asarray(batch.mask)
    assert made.results["tokens"] == mask.sum()
    loss = ((temperature**2 * divergence_BT + coefficient * surprise) * mask).sum() / (8 * LENGTH)
    np.testing.assert_allclose(row["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(row[name], (divergence_BT * mask).sum() / mask.sum(), rtol=1e-4)
    np.testing.assert_allclose(row["cross_entropy"], (surprise * mask).sum() / mask.sum(), rtol=1e-4)


@pytest.mark.slow
def test_a_student_comes_closer_to_a_teacher_of_another_width_and_the_teacher_stays(
    base: Artifact, student: Artifact, examples: Artifact, tmp_path: Path
):
    surroundings = Surroundings()
    made = work(by_logits(steps=20), tmp_path, inputs(student, base, data=examples), surroundings)
    values = [row["kl"] for row in made.metrics()]
    assert np.mean(values[-3:]) < 0.6 * values[0]
    assert made.kind == "checkpoint" and tokenizer_of(made).model == tokenizer_of(base).model
    assert model_of(made, surroundings.context().mesh).config == SMALL
    assert "cross_entropy" not in made.metrics()[0]


@pytest.mark.slow
def test_a_student_that_is_its_teacher_has_nothing_to_learn(base: Artifact, examples: Artifact, tmp_path: Path):
    for stage in (by_logits(start=TWIN), on_policy(start=TWIN)):
        made = work(stage, tmp_path, inputs(base, base, data=examples))
        assert made.hash == base.hash
        assert [row["kl"] for row in made.metrics()] == [0] * stage.steps


@pytest.mark.slow
def test_an_interrupted_distillation_goes_on_to_the_same_bits(
    base: Artifact, student: Artifact, examples: Artifact, tmp_path: Path
):
    given = inputs(student, base, data=examples)
    for stage, stop in ((by_logits(), 3), (on_policy(), 1)):
        whole = work(stage, tmp_path / "whole", given)
        with pytest.raises(Interrupted):
            work(stage, tmp_path / "cut", given, Surroundings(stop_at=stop))
        resumed = work(stage, tmp_path / "cut", given)
        assert resumed.hash == whole.hash
        assert (resumed.path / "metrics.jsonl").read_bytes() == (whole.path / "metrics.jsonl").read_bytes()


@pytest.mark.slow
def test_on_policy_the_first_loss_is_the_reverse_kl_over_the_students_own_completions(
    base: Artifact, student: Artifact, tmp_path: Path
):
    stage = on_policy(steps=1, temperature=0.7)
    made = work(stage, tmp_path, inputs(student, base))
    [row] = made.metrics()
    context = Surroundings().context()
    model = model_of(student, context.mesh)
    params = params_of(student, model, context.mesh)
    sampled = sampler_of(stage, trainee_of(stage, student, context), tokenizer_of(student), context)(params, 0)
    rows = {name: jnp.asarray(values) for name, values in sampled.rows.items()}
    batch = token_batch(rows, token_mean, NEW_TOKENS)
    mask = np.asarray(batch.mask)
    assert mask.sum() == sampled.rollouts.lengths.sum() == made.results["tokens"]
    divergence = divergences.kl(log_probs(student, batch, 0.7), log_probs(base, batch, 0.7))
    np.testing.assert_allclose(row["kl"], (divergence * mask).sum() / mask.sum(), rtol=1e-4)
    np.testing.assert_allclose(row["loss"], row["kl"], rtol=1e-5)
    assert row["completions/mean_length"] == sampled.rollouts.lengths.mean()
    assert row["completions/clipped_ratio"] == sampled.rollouts.truncated.mean()
    assert row["epoch"] == len(sampled.problems) / stage.problems.count


@pytest.mark.slow
def test_the_loss_of_held_out_rows_is_the_divergence_from_the_teacher_also_with_adapters(
    base: Artifact, student: Artifact, examples: Artifact, tmp_path: Path
):
    stage = by_logits(steps=1, batch=4, held_out=7, divergence=reverse, lora=LoRA(rank=2, alpha=4.0))
    made = work(stage, tmp_path, inputs(student, base, data=examples))
    _, held = split_rows(stage, read_records(examples.records_folder), 0)
    batch = token_batch(jax.tree.map(lambda *rows: np.stack(rows), *take_rows(held, range(7))), token_mean, LENGTH)
    divergence = divergences.kl(log_probs(made, batch, 1.0), log_probs(base, batch, 1.0))
    expected = (divergence * np.asarray(batch.weights)).sum()
    np.testing.assert_allclose(made.metrics()[-1]["eval_loss"], expected, rtol=1e-4)


@pytest.mark.slow
def test_on_policy_a_student_comes_closer_to_its_teacher_without_any_reward(
    base: Artifact, student: Artifact, tmp_path: Path
):
    surroundings = Surroundings()
    made = work(on_policy(steps=16), tmp_path, inputs(student, base), surroundings)
    values = [row["kl"] for row in made.metrics()]
    assert np.mean(values[-3:]) < 0.7 * np.mean(values[:2])
    assert {"kl", "completions/mean_length"} <= surroundings.reports[-1].values.keys()


def rewritten(folder: Path, artifact: Artifact) -> Artifact:
    """The same artifact, whose tokenizer's file has other bytes, as if trained elsewhere."""
    copy = folder / f"{artifact.stage}_rewritten"
    shutil.copytree(artifact.path, copy)
    schema: Any = sentencepiece_model_pb2
    model = schema.ModelProto.FromString((copy / SENTENCEPIECE_FILE).read_bytes())
    model.trainer_spec.input.append("elsewhere.txt")
    (copy / SENTENCEPIECE_FILE).write_bytes(model.SerializeToString())
    return replace(artifact, path=copy)


def renormalised(log_probs_BTV: np.ndarray, count: int) -> np.ndarray:
    """The distribution over the first ``count`` ids alone."""
    return log_softmax(log_probs_BTV[..., :count], axis=-1)


def test_a_teacher_whose_vocabulary_is_filled_up_otherwise_teaches_the_ids_of_the_tokenizer(
    base: Artifact, student: Artifact, corpus: Artifact, examples: Artifact, tmp_path: Path
):
    count = tokenizer_of(base).vocabulary_size
    assert count < SMALL.vocabulary
    wide = untrained(tmp_path, "wide", replace(SMALL, vocabulary=96), corpus)
    stage = by_logits(steps=1)
    teacher, data = rewritten(tmp_path, base), rewritten(tmp_path, examples)
    [row] = work(stage, tmp_path, inputs(wide, teacher, data=data)).metrics()
    batch = first_batch(examples, stage)
    log_p, log_q = (renormalised(log_probs(each, batch, 1.0), count) for each in (base, wide))
    mask = np.asarray(batch.mask)
    expected = (divergences.definition(forward, log_p, log_q) * mask).sum() / mask.sum()
    np.testing.assert_allclose(row["loss"], expected, rtol=1e-5)


@pytest.mark.slow
def test_on_policy_a_teacher_with_fewer_rows_teaches_the_ids_of_the_tokenizer_too(
    base: Artifact, corpus: Artifact, tmp_path: Path
):
    wide = untrained(tmp_path, "wide", replace(SMALL, vocabulary=96), corpus)
    [row] = work(on_policy(steps=1), tmp_path, inputs(wide, base)).metrics()
    assert row["loss"] > 0 and np.isfinite(row["grad_norm"])


def test_models_without_a_row_for_each_id_are_refused(
    base: Artifact, corpus: Artifact, examples: Artifact, tmp_path: Path
):
    count = tokenizer_of(base).vocabulary_size
    narrow = untrained(tmp_path, "narrow", replace(SMALL, vocabulary=count - 1), corpus)
    for stage in (by_logits(), on_policy()):
        with pytest.raises(
            InputError, match=f"the tokenizer has {count} ids, but its teacher narrow .* of {count - 1}"
        ):
            work(stage, tmp_path, inputs(base, narrow, data=examples))


def test_a_teacher_of_another_tokenizer_is_refused_by_name(base: Artifact, examples: Artifact, tmp_path: Path):
    letters = work(replace(CORPUS, name="letters", sources=(Generated(tiny_stages.plain, count=9),)), tmp_path)
    reader = untrained(tmp_path, "reader", SMALL, letters)
    for stage in (by_logits(), on_policy()):
        with pytest.raises(
            InputError, match=r"its teacher base and its start reader have different tokenizers.* \(id \d+ is"
        ):
            work(stage, tmp_path, inputs(reader, base, data=examples))
    with pytest.raises(
        InputError, match=r"its data letters was tokenized otherwise than its start base was trained \(id"
    ):
        work(by_logits(), tmp_path, inputs(base, base, data=letters))


def test_rows_and_replies_longer_than_the_teachers_context_are_refused(
    base: Artifact, student: Artifact, corpus: Artifact, examples: Artifact, tmp_path: Path
):
    brief = untrained(tmp_path, "brief", replace(SMALL, context=12), corpus)
    with pytest.raises(InputError, match="rows of 32 tokens exceed the teacher's context of 12; prepare"):
        work(by_logits(), tmp_path, inputs(base, brief, data=examples))
    with pytest.raises(InputError, match="rows of 32 tokens exceed the model's context of 12; prepare"):
        work(by_logits(), tmp_path, inputs(brief, base, data=examples))
    with pytest.raises(InputError, match="followed, its teacher: .* 8 new ones make 14, more than .* context of 12"):
        work(on_policy(), tmp_path, inputs(base, brief))
    with pytest.raises(InputError, match="and 30 new ones make 36, more than the model's context of 32"):
        work(on_policy(max_new_tokens=30), tmp_path, inputs(student, base))


def test_rows_that_the_devices_can_not_share_are_refused_before_any_work():
    mesh = build_mesh(MeshShape(data=2, fsdp=4))
    with pytest.raises(InputError, match="stage distilled: 12 rows can't be shared evenly by 8 data-parallel devices"):
        by_logits(batch=12).check(mesh)
    with pytest.raises(InputError, match="followed: 5 questions x 4 samples = 20 rows can't be shared evenly by 8"):
        on_policy(questions=5).check(mesh)


@pytest.mark.parametrize("build", [by_logits, on_policy])
def test_a_divergence_that_is_no_function_or_has_no_hash_is_refused(build: Any):
    with pytest.raises(InputError, match="the divergence is 'jsd', which is no function; give one of log p and log q"):
        build(divergence="jsd")
    with pytest.raises(InputError, match="divergence is .* has no hash.* frozen dataclass, or give a plain function"):
        build(divergence=divergences.Unhashable())


def test_the_plan_counts_rows_and_completions():
    assert by_logits().plan() == {"steps": 6, "rows": 48}
    assert on_policy().plan() == {"steps": 2, "completions": 32, "sampled tokens at most": 32 * NEW_TOKENS}


@pytest.mark.slow
def test_probes_are_asked_when_due(base: Artifact, student: Artifact, examples: Artifact, tmp_path: Path):
    for stage in (by_logits(steps=3), on_policy(steps=3)):
        watched = replace(stage, probe=quiz(), probe_every=2)
        made = work(watched, tmp_path, inputs(student, base, data=examples))
        assert [row["step"] for row in made.metrics() if "probe/strict" in row] == [2, 3]


def test_a_teacher_that_is_the_start_itself_is_refused_where_there_is_nothing_else_to_learn():
    with pytest.raises(InputError, match="its teacher is its start, base, .* nothing is ever learnt"):
        by_logits(start=BASE)
    with pytest.raises(InputError, match="its teacher is its start, base"):
        on_policy(start=BASE)
    assert by_logits(start=BASE, cross_entropy_coefficient=0.1).teacher is BASE
