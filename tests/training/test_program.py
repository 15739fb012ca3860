"""The step that training runs and the one that planning compiles are one program."""

import jax
import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh, rows
from reasoning.models.config import ModelConfig, Stack
from reasoning.models.model import build_model, init_sharded
from reasoning.objectives.aggregation import token_mean
from reasoning.training.batches import TokenBatch, token_batch
from reasoning.training.losses import supervised
from reasoning.training.optimizers import AdamW
from reasoning.training.program import StepProgram, build_step
from reasoning.training.state import TrainState, new_state

MESH = build_mesh(MeshShape(data=2, fsdp=4))
CONFIG = ModelConfig(vocabulary=40, width=16, heads=2, mlp=32, stacks=(Stack(2),), context=8)
MODEL = build_model(CONFIG, MESH)
OPTIMIZER = AdamW(1e-2).build(2)


def program() -> StepProgram:
    return build_step(MODEL, MESH, supervised(MODEL), OPTIMIZER, 2)


def start(built: StepProgram) -> TrainState:
    params = init_sharded(MODEL, MESH, jax.random.key(0))
    build = jax.jit(
        lambda params, key: new_state(params, OPTIMIZER, key, {}),
        out_shardings=built.shardings,
    )
    return build(params, jax.random.key(1))


def batch() -> TokenBatch:
    names = ("tokens", "positions", "segments", "loss_mask")
    ones = {name: np.ones((16, 8), np.int32) for name in names}
    return jax.jit(lambda rows: token_batch(rows, token_mean, 8), out_shardings=rows(MESH))(ones)


def test_a_step_lowers_to_the_same_program_from_shapes_alone_as_from_a_real_state():
    built, real = program(), batch()
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), real)
    planned = built.step.lower(built.abstract, {}, shapes).as_text()
    assert planned == built.step.lower(start(built), {}, real).as_text()


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
    model = build_model(ModelConfig(vocabulary=40, width=18, heads=3, mlp=32, stacks=(Stack(1),), context=8))
    with pytest.raises(InputError, match=r"parameter .*18.*fsdp.*4"):
        build_step(model, MESH, supervised(model), OPTIMIZER, 1)
