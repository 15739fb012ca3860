"""What training and sampling would run on a pod, compiled for it here: small logits, a sharded state, no surprises."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from compiled_once import Memory, compiled_once
from jax.experimental.compilation_cache import compilation_cache

from reasoning.core.mesh import MeshShape, build_mesh, data_parallel_size
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
VOCABULARY, WIDTH, LAYERS, LENGTH = 151_936, 896, 24, 1024
OPTIMIZER = AdamW(1e-5).build(10)
TEACHER_WIDTH = 1536


def decoder(layers: int) -> ModelConfig:
    """Qwen2.5-0.5B, or fewer layers of it."""
    return qwen(WIDTH, layers, heads=14, mlp_width=4864)


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
    """A step on a topology, and the bound on its temporary memory, which is 1.2 times what was measured."""

    topology: str
    mesh: MeshShape
    loss: Callable[[Model], LossFunction]
    batch: Callable[..., Any]
    rows: int
    microbatches: int
    temporaries: int
    teacher: ModelConfig | None = None


def kl(student: Model) -> LossFunction:
    """Reverse KL to Qwen2.5-1.5B, and a share of cross-entropy."""
    return distill(build_model(TEACHER, student.mesh), student, divergence=reverse, cross_entropy_coefficient=0.1)


TEACHER = qwen(TEACHER_WIDTH, 28, heads=12, mlp_width=8960)
grpo = partial(policy, loss=Clipped(0.2, 0.28), kl=k3, kl_coefficient=0.001, temperature=0.9)
sampled = partial(policy_batch_shapes, old=True, reference=True)
CASES = {
    "sft, fsdp 16": Case("v5e:4x4", MeshShape(data=1, fsdp=16), supervised, token_batch_shapes, 16, 1, 1240 * MIB),
    "grpo, data 4, fsdp 4": Case("v5e:4x4", MeshShape(data=4, fsdp=4), grpo, sampled, 32, 2, 3900 * MIB),
    "kl, data 2, fsdp 4, tensor 2": Case(
        "v5e:4x4", MeshShape(data=2, fsdp=4, tensor=2), kl, token_batch_shapes, 32, 2, 2700 * MIB, TEACHER
    ),
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
    def vocabulary(self) -> int:
        """Columns of the unembedding on a device."""
        return VOCABULARY // self.case.mesh.tensor

    @property
    def tokens(self) -> int:
        """Tokens of one microbatch on a device."""
        assert self.model.mesh is not None
        return self.case.rows * LENGTH // self.case.microbatches // data_parallel_size(self.model.mesh)


def need_libtpu() -> None:
    if not libtpu_is_installed():
        pytest.skip("libtpu is not installed: make tpu-aot adds it")


@pytest.fixture(
    scope="module", params=[pytest.param(case, id=name, marks=pytest.mark.slow) for name, case in CASES.items()]
)
def planned(request: pytest.FixtureRequest) -> Planned:
    need_libtpu()
    case: Case = request.param
    mesh = build_mesh(case.mesh, topology_devices(case.topology))
    model = build_model(decoder(LAYERS), mesh)
    batch = case.batch(mesh, case.rows, LENGTH)
    teacher = None if case.teacher is None else build_model(case.teacher, mesh)
    lowered = lower_step(model, mesh, case.loss(model), OPTIMIZER, batch, case.microbatches, teacher)
    compiled = compiled_once(lowered, mesh)
    return Planned(case, model, compiled.text, compiled.memory)


def logits_in(text: str, vocabulary: int, tokens: int) -> list[str]:
    return arrays_pairing(text, vocabulary, tokens, weights=[(WIDTH, vocabulary), (TEACHER_WIDTH, vocabulary)])


def test_a_step_that_is_planned_on_a_cpu_has_the_kernels_of_its_tpus(planned: Planned):
    assert jax.default_backend() == "cpu"
    assert planned.text.count('custom_call_target="tpu_custom_call"') >= 2


def test_no_array_pairs_the_vocabulary_with_more_than_a_quarter_of_the_tokens(planned: Planned):
    assert logits_in(planned.text, planned.vocabulary, planned.tokens) == []


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


def test_the_models_have_the_sizes_of_qwen2_5():
    assert parameter_count(build_model(decoder(LAYERS))) == 494_032_768
    assert parameter_count(build_model(TEACHER)) == 1_543_714_304


@pytest.mark.slow
def test_a_teacher_with_further_rows_costs_no_gathering_of_a_vocabulary():
    need_libtpu()
    mesh = build_mesh(MeshShape(data=2, fsdp=4, tensor=2), topology_devices("v5e:4x4"))
    sizes = QWEN2_5_1_5B.vocabulary, QWEN2_5_7B.vocabulary
    small = qwen(256, 1, heads=4, mlp_width=512)
    student, teacher = (build_model(replace(small, vocabulary=rows), mesh) for rows in sizes)
    loss_fn = distill(teacher, student, divergence=reverse, vocabulary=151_665)  # Qwen2.5's tokenizer
    batch = token_batch_shapes(mesh, 16, 128)
    text = compiled_once(lower_step(student, mesh, loss_fn, OPTIMIZER, batch, 1, teacher), mesh).text
    gathered = [size for shape in collective_shapes(text, "all-gather") for size in shape]
    assert max(gathered) <= max(sizes) // 2 and 151_666 // 2 in gathered
    # A device's columns begin elsewhere where rows are left out at the end: so many come from its neighbour, no more.
    moved = {shape for shape in collective_shapes(text, "collective-permute") if len(shape) == 2}
    assert moved == {(256 // 4, (rows - 151_666) // 2) for rows in sizes}


def naive(model: Model) -> LossFunction:
    """Cross-entropy from the logits of all tokens at once."""

    def loss_fn(params: Any, frozen: Any, batch: Any) -> Any:
        hidden_BTD, _ = model.hidden_states(params, batch.tokens, batch.positions, batch.segments)
        logits_BTV = jnp.dot(hidden_BTD, model.unembedding(params), preferred_element_type=jnp.float32)
        log_probs_BTV = jax.nn.log_softmax(logits_BTV)
        picked_BT1 = jnp.take_along_axis(log_probs_BTV, batch.targets[..., None], axis=-1)
        return -jnp.sum(batch.weights * picked_BT1[..., 0]), {}, {}

    return loss_fn


@pytest.mark.slow
def test_a_naive_loss_fails_the_same_check():
    need_libtpu()
    length = 128
    mesh = build_mesh(MeshShape(data=1, fsdp=16), topology_devices("v5e:4x4"))
    model = build_model(decoder(1), mesh)
    lowered = lower_step(model, mesh, naive(model), OPTIMIZER, token_batch_shapes(mesh, 16, length), 1)
    found = logits_in(compiled_once(lowered, mesh).text, VOCABULARY, length)
    assert any(f"for {length} of {length} tokens" in line for line in found)


@pytest.mark.slow
def test_a_long_step_has_the_kernels_of_attention_and_no_array_of_all_scores():
    need_libtpu()
    length = 16_384
    mesh = build_mesh(MeshShape(data=1, fsdp=2, context=2), topology_devices("v5e:2x2"))
    model = build_model(replace(qwen(256, 2, heads=4, mlp_width=512), vocabulary=1024, context=length), mesh)
    batch = sampled(mesh, 2, length)
    text = compiled_once(lower_step(model, mesh, grpo(model), OPTIMIZER, batch, 1), mesh).text
    kernels = re.findall(r"^ *%?(splash_mha_[a-z]+)\S* = .*tpu_custom_call", text, re.MULTILINE)
    assert sorted(kernels) == ["splash_mha_dkv", "splash_mha_dq", "splash_mha_fwd", "splash_mha_fwd"]
    for part in (length, length // 2):
        assert not arrays_pairing(text, length, part) and not arrays_pairing(text, part, part)


@pytest.mark.slow
def test_sampling_exchanges_no_weights_and_keeps_a_cache_of_its_own_rows():
    need_libtpu()
    mesh = build_mesh(MeshShape(data=4, fsdp=4), topology_devices("v5e:4x4"))
    model = build_model(decoder(2), mesh)
    settings = SamplerSettings(samples=8, max_new_tokens=32, end_ids=(0,))
    compiled = compiled_once(lower_sampling(model, mesh, settings, 16, 256), mesh)
    text = compiled.text
    assert [
        shape for kind in ("all-gather", "all-reduce", "all-to-all") for shape in collective_shapes(text, kind)
    ] == []
    assert compiled.memory.argument_size_in_bytes >= 2 * parameter_count(model)  # whole, in bfloat16
    rows = 16 * settings.samples // mesh.size
    assert f"bf16[{rows},2,{256 + settings.max_new_tokens},64]" in text


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
