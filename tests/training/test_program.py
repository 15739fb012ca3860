"""The step that training runs and the one that planning compiles are one program."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
import optax
import pytest
from compilations import compilations
from drawn import placed

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh, row_sharding
from reasoning.models.config import ModelConfig, Stack
from reasoning.models.model import build_model, parameter_count, parameter_shardings
from reasoning.objectives.advantages import group_mean, groups_with_signal
from reasoning.objectives.aggregation import token_mean
from reasoning.objectives.divergence import forward
from reasoning.objectives.kl import k3
from reasoning.objectives.policy import Clipped
from reasoning.training.batches import TokenBatch, token_batch
from reasoning.training.losses import distill, policy, supervised
from reasoning.training.optimizers import AdamW, Muon
from reasoning.training.program import StepProgram, build_assembling, build_batching, build_scoring, build_step
from reasoning.training.state import TrainState, new_state

MESH = build_mesh(MeshShape(data=2, fsdp=4))
CONFIG = ModelConfig(vocabulary=40, width=16, heads=2, mlp_width=32, stacks=(Stack(2),), context=8)
MODEL = build_model(CONFIG, MESH)
OPTIMIZER = AdamW(1e-2).build(2)


def program() -> StepProgram:
    return build_step(MODEL, MESH, supervised(MODEL), OPTIMIZER, 2)


def test_stages_of_other_rates_and_lengths_share_one_step_and_other_losses_do_not():
    # Not the module's model: only the models that were used last are remembered, and other tests build some too.
    model = build_model(CONFIG, MESH)
    built = build_step(model, MESH, supervised(model), OPTIMIZER, 2)
    other = AdamW(3e-3, warmup=4, decay_share=0.5, weight_decay=0.1, clip_norm=0.3).build(99)
    again = build_model(CONFIG, MESH)
    assert build_step(again, MESH, supervised(again), other, 2) is built
    assert build_step(model, MESH, supervised(model), other, 1).step is not built.step
    loss_fn = policy(model, loss=Clipped(0.1, 0.1), kl=k3, kl_coefficient=0.0, temperature=1.0)
    assert build_step(model, MESH, loss_fn, other, 2).step is not built.step


def test_a_users_optimizer_shares_a_step_with_itself_alone():
    def built(transformation: optax.GradientTransformation) -> StepProgram:
        return build_step(MODEL, MESH, supervised(MODEL), transformation, 2)

    one, twin = optax.adam(0.1), optax.adam(0.1)
    assert built(one) is built(one)
    assert built(one).step is not built(twin).step
    assert built(Muon(0.1).build(2)) is built(Muon(0.2, momentum=0.9).build(9))
    assert built(Muon(0.1).build(2)).step is not built(OPTIMIZER).step


@pytest.mark.slow
def test_a_shared_step_is_compiled_once_and_each_stage_keeps_its_own_rate_and_schedule():
    jax.clear_caches()
    built, moved, compiled = program(), [], []
    falling = AdamW(1e-2, decay_share=1.0)
    for settings, steps in ((AdamW(1e-2), 2), (AdamW(2e-2), 2), (falling, 2), (falling, 4)):
        optimizer = settings.build(steps)
        params = placed(MODEL, MESH)
        initial = jax.jit(
            lambda params, optimizer=optimizer: new_state(params, optimizer),
            out_shardings=built.shardings,
        )
        state, before = initial(params), np.asarray(params["head"])
        built = build_step(MODEL, MESH, supervised(MODEL), optimizer, 2)
        places = []
        for _ in range(2):
            rows_now = batch()
            with compilations() as names:
                state, _ = built.step(state, {}, rows_now)
            compiled += names
            places.append(np.asarray(state.params["head"]))
        moved.append([np.abs(places[0] - before).max(), np.abs(places[1] - places[0]).max()])
    assert compiled.count("step") == 1
    (first, second), doubled, short, long = moved
    np.testing.assert_allclose(doubled[0] / first, 2, rtol=1e-3)
    np.testing.assert_allclose([short[0] / first, long[0] / first], 1, rtol=1e-3)
    np.testing.assert_allclose(short[1] / second, 1 / 2, rtol=1e-2)  # one of two steps down to nothing
    np.testing.assert_allclose(long[1] / second, 3 / 4, rtol=1e-2)  # one of four


@pytest.mark.slow
def test_the_parameters_of_a_teacher_lie_as_its_own_rules_say_and_not_whole_on_each_device():
    teacher = build_model(replace(CONFIG, width=24), MESH)
    built = build_step(MODEL, MESH, distill(teacher, MODEL, divergence=forward), OPTIMIZER, 2, teacher)
    params = placed(teacher, MESH, 3)
    state, metrics = built.step(start(built), params, batch())
    assert float(metrics["kl"][0]) > 0
    compiled = built.step.lower(built.abstract, built.frozen, abstract(batch())).compile()
    state = 3 * 4 * parameter_count(MODEL)  # parameters and two moments, four bytes each
    data = sum(leaf.nbytes for leaf in jax.tree.leaves(batch()))
    whole = 4 * parameter_count(teacher)
    assert compiled.memory_analysis().argument_size_in_bytes < (state + whole) / 4 * 1.05 + data / 8
    assert jax.tree.map(lambda leaf: leaf.sharding, built.frozen) == parameter_shardings(teacher, MESH)


def test_scoring_assembling_and_batching_are_remembered_too():
    assert build_scoring(MODEL, MESH, 0.7) is build_scoring(MODEL, MESH, 0.7)
    assert build_scoring(MODEL, MESH, 0.7) is not build_scoring(MODEL, MESH, 0.8)
    settings = (4, group_mean, groups_with_signal, token_mean, 8)
    assert build_assembling(MESH, *settings) is build_assembling(MESH, *settings)
    assert build_batching(MESH, token_mean, 8) is not build_batching(MESH, token_mean, 9)


@dataclass
class Scaled:
    """A function with a setting that may change, so that Python gives it no hash."""

    by: float = 2.0

    def __call__(self, values: jax.Array, *length: int) -> jax.Array:
        return self.by * values


def test_a_function_without_a_hash_is_refused_by_name_with_a_way_out():
    with pytest.raises(InputError, match=r"advantage is Scaled\(by=2.0\), which has no hash.*a frozen dataclass"):
        build_assembling(MESH, 4, Scaled(), groups_with_signal, token_mean, 8)
    with pytest.raises(InputError, match="aggregate is Scaled"):
        build_batching(MESH, Scaled(), 8)


def abstract(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), tree)


def start(built: StepProgram) -> TrainState:
    params = placed(MODEL, MESH)
    build = jax.jit(
        lambda params: new_state(params, OPTIMIZER),
        out_shardings=built.shardings,
    )
    return build(params)


def batch() -> TokenBatch:
    names = ("tokens", "positions", "segments", "loss_mask")
    ones = {name: np.ones((16, 8), np.int32) for name in names}
    return jax.jit(lambda rows: token_batch(rows, token_mean, 8), out_shardings=row_sharding(MESH))(ones)


def test_a_step_lowers_to_the_same_program_from_shapes_alone_as_from_a_real_state():
    built, real = program(), batch()
    planned = built.step.lower(built.abstract, {}, abstract(real)).as_text()
    assert planned == built.step.lower(start(built), {}, real).as_text()


@pytest.mark.slow
def test_a_step_takes_the_state_where_it_lies_and_leaves_it_there():
    built = program()
    state = start(built)
    for _ in range(2):
        state, metrics = built.step(state, {}, batch())
        jax.block_until_ready(metrics)
    assert int(state.step) == 2
    matches = jax.tree.map(
        lambda leaf, abstract: (
            (leaf.shape, leaf.dtype, leaf.sharding) == (abstract.shape, abstract.dtype, abstract.sharding)
        ),
        state,
        built.abstract,
    )
    assert all(jax.tree.leaves(matches))


def test_a_parameter_that_does_not_divide_over_the_mesh_is_refused_with_the_numbers():
    model = build_model(ModelConfig(vocabulary=40, width=18, heads=3, mlp_width=32, stacks=(Stack(1),), context=8))
    with pytest.raises(InputError, match=r"parameter .*18.*fsdp.*4"):
        build_step(model, MESH, supervised(model), OPTIMIZER, 1)
