"""What training and sampling would run on a pod, compiled for it here: small logits, a sharded state, no surprises."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from compiled_once import Memory, compiled_once
from jax.experimental.compilation_cache import compilation_cache

from reasoning.core.mesh import MeshShape, build_mesh, data_parallel_size, sharding
from reasoning.generation.sampler import SamplerSettings
from reasoning.models.config import ModelConfig, Rope, Stack
from reasoning.models.model import Model, build_model, parameter_count
from reasoning.models.presets import QWEN2_5_1_5B, QWEN2_5_7B
from reasoning.objectives.divergence import reverse
from reasoning.objectives.kl import k3
from reasoning.objectives.policy import Clipped
from reasoning.planning.collectives import collective_shapes
from reasoning.planning.programs import (
    lower_sampling,
    lower_step,
    no_compilation_cache,
    policy_batch_shapes,
    token_batch_shapes,
)
from reasoning.planning.shapes import arrays_pairing
from reasoning.planning.topology import libtpu_is_installed, topology_devices
from reasoning.training.losses import distill, policy, supervised
from reasoning.training.optimizers import AdamW
from reasoning.training.step import LossFunction

MIB = 2**20
CHIPS = "v5e:2x2"
VOCABULARY, WIDTH, MLP_WIDTH, LENGTH = QWEN2_5_1_5B.vocabulary, 256, 640, 384
LAYERS, TEACHER_LAYERS = 7, 13
"""Layers are scanned, so their number costs nothing; these divide none of the other sizes."""

OPTIMIZER = AdamW(1e-5).build(10)
TEACHER_WIDTH = 512
TOKENIZER = 151_665
"""Tokens that Qwen2.5's tokenizer has; further rows of its models' vocabularies stand for none."""


def decoder(layers: int) -> ModelConfig:
    """A model with the vocabulary of Qwen2.5-1.5B, which no tile divides, and little besides."""
    return qwen(WIDTH, layers, heads=4, mlp_width=MLP_WIDTH)


def qwen(width: int, layers: int, heads: int, mlp_width: int) -> ModelConfig:
    """A model of the Qwen2.5 family that ties its embeddings."""
    return ModelConfig(
        vocabulary=VOCABULARY,
        width=width,
        heads=heads,
        kv_heads=2,
        mlp_width=mlp_width,
        stacks=(Stack(layers),),
        context=LENGTH,
        qkv_bias=True,
        tied=True,
        rope=Rope(base=1e6),
        compute_dtype="bfloat16",
        remat="block",
    )


@dataclass(frozen=True)
class Case:
    """A step on four chips, and the bound on its temporary memory, which is 1.2 times what was measured."""

    mesh: MeshShape
    loss: Callable[[Model], LossFunction]
    batch: Callable[..., Any]
    rows: int
    microbatches: int
    temporaries: int
    teacher: ModelConfig | None = None


def kl(student: Model) -> LossFunction:
    """Reverse KL to a teacher whose vocabulary has further rows, and a share of cross-entropy."""
    teacher = build_model(TEACHER, student.mesh)
    return distill(teacher, student, divergence=reverse, cross_entropy_coefficient=0.1, vocabulary=TOKENIZER)


TEACHER = replace(qwen(TEACHER_WIDTH, TEACHER_LAYERS, heads=8, mlp_width=1152), vocabulary=QWEN2_5_7B.vocabulary)
grpo = partial(policy, loss=Clipped(0.2, 0.28), kl=k3, kl_coefficient=0.001, temperature=0.9)
sampled = partial(policy_batch_shapes, old=True, reference=True)
KL = "kl, fsdp 2, tensor 2"
CASES = {
    "sft, fsdp 4": Case(MeshShape(data=1, fsdp=4), supervised, token_batch_shapes, 4, 1, 550 * MIB),
    "grpo, data 2, fsdp 2": Case(MeshShape(data=2, fsdp=2), grpo, sampled, 8, 2, 850 * MIB),
    KL: Case(MeshShape(data=1, fsdp=2, tensor=2), kl, token_batch_shapes, 4, 2, 780 * MIB, TEACHER),
}


@dataclass(frozen=True)
class Planned:
    """A compiled step: its text, its memory on a device, and what they are judged by."""

    case: Case
    model: Model
    text: str
    memory: Memory

    @property
    def shards(self) -> int:
        """In how many parts the parameters lie."""
        return self.case.mesh.fsdp * self.case.mesh.tensor

    @property
    def vocabularies(self) -> set[int]:
        """Columns of the unembeddings on a device, the teacher's and those that both have among them."""
        taught = self.case.teacher is not None
        sizes = {VOCABULARY, QWEN2_5_7B.vocabulary, TOKENIZER + 1} if taught else {VOCABULARY}
        return {size // self.case.mesh.tensor for size in sizes}

    @property
    def tokens(self) -> int:
        """Tokens of one microbatch on a device."""
        assert self.model.mesh is not None
        return self.case.rows * LENGTH // self.case.microbatches // data_parallel_size(self.model.mesh)


def need_libtpu() -> None:
    if not libtpu_is_installed():
        pytest.skip("libtpu is not installed: make tpu-aot adds it")


@cache
def planned_case(name: str) -> Planned:
    case = CASES[name]
    mesh = build_mesh(case.mesh, topology_devices(CHIPS))
    model = build_model(decoder(LAYERS), mesh)
    batch = case.batch(mesh, case.rows, LENGTH)
    teacher = None if case.teacher is None else build_model(case.teacher, mesh)
    lowered = lower_step(model, mesh, case.loss(model), OPTIMIZER, batch, case.microbatches, teacher)
    compiled = compiled_once(lowered, mesh)
    return Planned(case, model, compiled.text, compiled.memory)


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.slow) for name in CASES])
def planned(request: pytest.FixtureRequest) -> Planned:
    need_libtpu()
    return planned_case(request.param)


def logits_in(text: str, vocabularies: Collection[int], tokens: int) -> list[str]:
    widths = {width // parts for width in (WIDTH, TEACHER_WIDTH) for parts in (1, 2, 4)}  # whole, or in shards
    weights = [(width, vocabulary) for width in widths for vocabulary in vocabularies]
    return [found for one in vocabularies for found in arrays_pairing(text, one, tokens, weights=weights)]


def kernels_in(text: str) -> list[str]:
    """The names of Pallas kernels in a program, as often as they are called."""
    return re.findall(r"^ *%?([a-z_]+)\S* = .*tpu_custom_call", text, re.MULTILINE)


def test_a_step_that_is_planned_on_a_cpu_has_the_kernels_of_its_tpus(planned: Planned):
    assert jax.default_backend() == "cpu"
    head = "token_log_probs" if planned.case.teacher is None else "token_divergence"
    # Attention has one kernel for heads that share a key and another for those that don't: a mesh decides.
    for kind in ("splash_m[hq]a_fwd", "splash_m[hq]a_dq", "splash_m[hq]a_dkv", f"{head}_forward", f"{head}_backward"):
        assert any(re.match(kind, name) for name in kernels_in(planned.text)), kind


def test_no_array_pairs_the_vocabulary_with_more_than_a_quarter_of_the_tokens(planned: Planned):
    assert logits_in(planned.text, planned.vocabularies, planned.tokens) == []


def test_arguments_are_a_device_share_of_the_state_and_of_the_teacher(planned: Planned):
    state = 3 * 4 * parameter_count(planned.model)  # parameters and two moments, four bytes each
    # A teacher is held in the dtype of the computation.
    size = jnp.dtype(planned.model.config.compute_dtype).itemsize
    teacher = 0 if planned.case.teacher is None else size * parameter_count(build_model(planned.case.teacher))
    share = (state + teacher) / planned.shards
    assert share <= planned.memory.argument_size_in_bytes <= 1.12 * share


def test_the_state_is_updated_in_place(planned: Planned):
    state = 3 * 4 * parameter_count(planned.model) / planned.shards
    assert planned.memory.alias_size_in_bytes >= state
    assert planned.memory.output_size_in_bytes - planned.memory.alias_size_in_bytes < MIB


def test_temporaries_stay_below_the_stated_bound(planned: Planned):
    assert planned.memory.temp_size_in_bytes < planned.case.temporaries


def test_layers_are_gathered_one_at_a_time_and_no_stack_outside_its_loop(planned: Planned):
    shapes = collective_shapes(planned.text, "all-gather")
    layer = {WIDTH, planned.model.config.mlp_width // planned.case.mesh.tensor}
    assert any(set(shape) - {1} == layer for shape in shapes)
    configs = [planned.model.config, *([planned.case.teacher] if planned.case.teacher is not None else [])]
    # A width, or a device's share of it, may be a multiple of the number of layers too.
    widths = {part for config in configs for part in (config.width, config.width // planned.case.mesh.fsdp)}
    widths |= {config.mlp_width // planned.case.mesh.tensor for config in configs}
    others = [(shape, size) for shape in shapes for size in set(shape) - widths]
    assert [(shape, size) for shape, size in others if any(size % config.layers == 0 for config in configs)] == []


@pytest.mark.slow
def test_a_teacher_with_further_rows_costs_no_gathering_of_a_vocabulary():
    need_libtpu()
    text = planned_case(KL).text
    gathered = [size for shape in collective_shapes(text, "all-gather") for size in shape]
    most = QWEN2_5_7B.vocabulary // 2
    assert max(gathered) <= most and (TOKENIZER + 1) // 2 in gathered
    # A device's columns begin elsewhere where rows are left out at the end: so many come from its neighbour, no more.
    moved = {shape for shape in collective_shapes(text, "collective-permute") if len(shape) == 2}
    widths = (VOCABULARY, WIDTH), (QWEN2_5_7B.vocabulary, TEACHER_WIDTH)
    assert moved == {(width // 2, (rows - TOKENIZER - 1) // 2) for rows, width in widths}


def naive(hidden_BTD: jax.Array, matrix_DV: jax.Array, targets_BT: jax.Array) -> jax.Array:
    """Cross-entropy from the logits of all tokens at once."""
    logits_BTV = jnp.dot(hidden_BTD, matrix_DV, preferred_element_type=jnp.float32)
    log_probs_BTV = jax.nn.log_softmax(logits_BTV)
    return -jnp.sum(jnp.take_along_axis(log_probs_BTV, targets_BT[..., None], axis=-1))


@pytest.mark.slow
def test_a_naive_loss_fails_the_same_check():
    need_libtpu()
    mesh = build_mesh(MeshShape(data=1, fsdp=4), topology_devices(CHIPS))
    targets = token_batch_shapes(mesh, 4, LENGTH).targets
    hidden = jax.ShapeDtypeStruct((*targets.shape, WIDTH), jnp.bfloat16, sharding=targets.sharding)
    matrix = jax.ShapeDtypeStruct((WIDTH, VOCABULARY), jnp.bfloat16, sharding=sharding(mesh, ("embed", "vocabulary")))
    lowered = jax.jit(jax.grad(naive, (0, 1))).lower(hidden, matrix, targets)
    found = logits_in(compiled_once(lowered, mesh).text, {VOCABULARY}, LENGTH)
    assert any(f"for {LENGTH} of {LENGTH} tokens" in line for line in found)


@pytest.mark.slow
def test_a_long_step_has_the_kernels_of_attention_and_no_array_of_all_scores():
    need_libtpu()
    length = 4096
    mesh = build_mesh(MeshShape(data=1, fsdp=2, context=2), topology_devices(CHIPS))
    model = build_model(replace(qwen(128, 2, heads=2, mlp_width=256), vocabulary=512, context=length), mesh)
    batch = sampled(mesh, 2, length)
    text = compiled_once(lower_step(model, mesh, grpo(model), OPTIMIZER, batch, 1), mesh).text
    kernels = [kind[0] for name in kernels_in(text) if (kind := re.match("splash_mha_[a-z]+", name))]
    assert sorted(kernels) == ["splash_mha_dkv", "splash_mha_dq", "splash_mha_fwd", "splash_mha_fwd"]
    for part in (length, length // 2):
        assert not arrays_pairing(text, length, part) and not arrays_pairing(text, part, part)


@pytest.mark.slow
def test_sampling_exchanges_no_weights_and_reads_a_long_cache_of_its_own_rows_where_it_lies():
    need_libtpu()
    mesh = build_mesh(MeshShape(data=2, fsdp=2), topology_devices(CHIPS))
    prompt, limit = 256, 3840
    model = build_model(replace(decoder(2), context=prompt + limit), mesh)
    settings = SamplerSettings(samples=8, max_new_tokens=limit, end_ids=(0,))
    compiled = compiled_once(lower_sampling(model, mesh, settings, 4, prompt), mesh)
    text = compiled.text
    assert [
        shape for kind in ("all-gather", "all-reduce", "all-to-all") for shape in collective_shapes(text, kind)
    ] == []
    assert compiled.memory.argument_size_in_bytes >= 2 * parameter_count(model)  # whole, in bfloat16
    rows = 4 * settings.samples // mesh.size
    cache = f"bf16[{rows},2,{prompt + limit},64]"
    assert cache in text
    # Each layer reads it by a kernel where it lies: a copy of it a token would cost more than the kernel saves.
    assert len([name for name in kernels_in(text) if name.startswith("ragged_attention")]) == 2
    loops = text[: text.index("\nENTRY ")]
    assert "copy(" in loops and not re.search(rf"= {re.escape(cache)}\S* copy\(", loops)


def test_the_compilation_cache_is_left_out_and_back_afterwards(tmp_path: Path):
    def compile_one(size: int) -> None:
        jax.jit(lambda x: x * 2).lower(jax.ShapeDtypeStruct((size,), jnp.float32)).compile()

    before = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    try:
        with no_compilation_cache():
            compile_one(3)
        assert list(tmp_path.iterdir()) == []
        compile_one(5)
        assert list(tmp_path.iterdir()) != []
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
        compilation_cache.reset_cache()
