"""A state's shapes and shardings, for optimizers of all kinds, and its way through a checkpoint to the bit."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from drawn import placed
from jax.sharding import PartitionSpec

from reasoning.core.hashes import hash_tree
from reasoning.core.mesh import MeshShape, build_mesh, row_sharding
from reasoning.models.config import ModelConfig, Stack
from reasoning.models.model import build_model, parameter_shardings
from reasoning.objectives.aggregation import token_mean
from reasoning.training.batches import TokenBatch, token_batch
from reasoning.training.checkpoints import Checkpointer
from reasoning.training.losses import supervised
from reasoning.training.optimizers import Adafactor, AdamW, Muon, Optimizer
from reasoning.training.program import build_step
from reasoning.training.state import new_state, state_shapes, state_shardings

MESH = build_mesh(MeshShape(data=1, fsdp=4, tensor=2))
MODEL = build_model(
    ModelConfig(vocabulary=40, width=16, heads=2, mlp_width=32, stacks=(Stack(2),), context=8, qkv_bias=True), MESH
)
PLACES = parameter_shardings(MODEL, MESH)
MLP = ("stack_0", "block_0", "mlp", "gate")


@dataclass(frozen=True)
class HeavyBall:
    """A user's optimizer, whose state optax knows nothing of: it looks into the parameters, and counts in a vector."""

    rate: float = 0.1

    def build(self, steps: int) -> optax.GradientTransformation:
        def init(params: Any) -> Any:
            return {"speed": jax.tree.map(jnp.zeros_like, params), "head": jnp.zeros(params["head"].shape[1:])}

        def update(updates: Any, state: Any, params: Any = None) -> Any:
            speed = jax.tree.map(lambda old, new: 0.5 * old + new, state["speed"], updates)
            return jax.tree.map(lambda one: -self.rate * one, speed), {"speed": speed, "head": state["head"] + 1}

        return optax.GradientTransformation(init, update)


OPTIMIZERS = [AdamW(1e-2, warmup=2), Muon(1e-2, weight_decay=0.1), Adafactor(1e-2, factored_from=16), HeavyBall()]
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda one: type(one).__name__)


def at(tree: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree[name]
    return tree


def spec(places: Any, path: tuple[str, ...] = MLP) -> PartitionSpec:
    return at(places, path).spec


@each_optimizer
def test_shapes_and_shardings_are_those_of_a_state_that_exists(optimizer: Optimizer):
    transformation = optimizer.build(4)
    shapes, places = state_shapes(MODEL, transformation), state_shardings(MODEL, MESH, transformation)
    state = jax.jit(partial(new_state, optimizer=transformation), out_shardings=places)(placed(MODEL, MESH))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), state) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), shapes
    )
    assert jax.tree.map(lambda leaf: leaf.sharding, state) == places
    assert places.params == PLACES and places.step.spec == places.skipped.spec == PartitionSpec()


def test_moments_lie_as_their_parameters_and_settings_are_whole():
    adam = state_shardings(MODEL, MESH, AdamW(1e-2).build(4)).optimizer
    assert adam.inner[1].mu == adam.inner[1].nu == PLACES
    assert {place.spec for place in adam.numbers.values()} == {PartitionSpec()}
    muon = state_shardings(MODEL, MESH, Muon(1e-2).build(4)).optimizer.inner[1].inner_states
    assert spec(muon["muon"].inner_state[0].mu) == spec(PLACES) != PartitionSpec()
    assert muon["adam"].inner_state.nu["head"] == PLACES["head"]
    ball = state_shardings(MODEL, MESH, HeavyBall().build(4)).optimizer
    assert ball["speed"] == PLACES and ball["head"].spec in (PartitionSpec(), PartitionSpec(PLACES["head"].spec[1]))


def test_factored_moments_lie_as_their_parameters_without_the_axis_that_is_gone():
    layers, width, mlp = spec(PLACES)
    assert width is not None and mlp is not None
    moments = state_shardings(MODEL, MESH, Adafactor(1e-2, factored_from=16).build(4)).optimizer.inner[1][0]
    # mlp is the longer axis, of 32: v_row is the mean over it, v_col that over width.
    assert spec(moments.v_row) == PartitionSpec(layers, width)
    assert spec(moments.v_col) == PartitionSpec(layers, mlp)
    assert spec(moments.v) == PartitionSpec()  # a placeholder
    assert moments.v["final_norm"]["scale"] == PLACES["final_norm"]["scale"]


def test_a_square_matrix_leaves_open_which_axis_is_gone_so_its_moments_are_whole_there():
    square = build_model(replace(MODEL.config, mlp_width=16), MESH)
    moments = state_shardings(square, MESH, Adafactor(1e-2, factored_from=16).build(4)).optimizer.inner[1][0]
    assert spec(moments.v_row) == spec(moments.v_col) == PartitionSpec(None, None)


def batch() -> TokenBatch:
    generator = np.random.default_rng(0)
    ones = {name: np.ones((8, 8), np.int32) for name in ("positions", "segments", "loss_mask")}
    ones["tokens"] = generator.integers(0, 40, (8, 8)).astype(np.int32)
    build: Callable[..., TokenBatch] = jax.jit(
        lambda part: token_batch(part, token_mean, 8), out_shardings=row_sharding(MESH)
    )
    return build(ones)


@each_optimizer
def test_four_steps_are_two_and_two_more_from_a_checkpoint_to_the_bit(optimizer: Optimizer, tmp_path: Path):
    transformation = optimizer.build(4)
    program = build_step(MODEL, MESH, supervised(MODEL), transformation, 1)
    state = jax.jit(partial(new_state, optimizer=transformation), out_shardings=program.shardings)(placed(MODEL, MESH))
    data, losses = batch(), []
    for number in range(4):
        if number == 2:
            Checkpointer(tmp_path).save(2, state, {})
        state, sums = program.step(state, {}, data)
        losses.append(float(sums["loss"][0]))
    assert losses[3] < losses[0]
    restored = Checkpointer(tmp_path).restore(program.abstract)
    assert restored is not None
    resumed = restored[1]
    for _ in range(2):
        resumed, _ = program.step(resumed, {}, data)
    assert hash_tree(resumed) == hash_tree(state)
