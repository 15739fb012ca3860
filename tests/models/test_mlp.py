"""The activations of the MLP against their papers' formulas, and its sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from reasoning.models.config import ModelConfig, Stack
from reasoning.models.mlp import MLP, activate

CONFIG = ModelConfig(vocabulary=8, width=6, heads=2, head_dim=4, mlp_width=10, stacks=(Stack(2),), context=8)
UP, GATE = np.random.default_rng(0).normal(size=(2, 7))


@pytest.fixture(autouse=True)
def _without_a_mesh():
    """Parameters are made on one device, as ``model.init`` makes them."""
    with nnx.use_eager_sharding(False):
        yield


def gelu_by_tanh(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


@pytest.mark.parametrize(
    ("activation", "gate", "expected"),
    [
        ("swiglu", GATE, GATE / (1 + np.exp(-GATE)) * UP),
        ("geglu", GATE, gelu_by_tanh(GATE) * UP),
        (
            "clamped_swiglu",
            9 * GATE,
            np.minimum(9 * GATE, 7) / (1 + np.exp(-1.702 * np.minimum(9 * GATE, 7))) * (UP + 1),
        ),
        ("relu2", None, np.maximum(UP, 0) ** 2),
    ],
)
def test_activations_are_those_of_the_papers(activation, gate, expected):
    opened = None if gate is None else jnp.asarray(gate, jnp.float32)
    np.testing.assert_allclose(activate(activation, jnp.asarray(UP, jnp.float32), opened), expected, rtol=1e-5)


def test_the_clamped_branch_without_gate_stays_within_seven_on_both_sides():
    up = jnp.asarray([-100.0, -7.0, 7.0, 100.0])
    found = activate("clamped_swiglu", up, jnp.ones(4))
    np.testing.assert_allclose(found, np.array([-6, -6, 8, 8]) / (1 + np.exp(-1.702)), rtol=1e-6)


@pytest.mark.parametrize("activation", ["swiglu", "relu2"])
def test_it_goes_up_to_the_hidden_width_and_down_again(activation):
    mlp = MLP(CONFIG, activation, 10, nnx.Rngs(params=0))
    names = {"up": (6, 10), "down": (10, 6)} | ({"gate": (6, 10)} if activation == "swiglu" else {})
    assert {name: leaf.shape for name, leaf in nnx.to_pure_dict(nnx.state(mlp)).items()} == names
    x_BTD = np.random.default_rng(1).normal(size=(2, 3, 6))
    up, down = np.float64(mlp.up[...]), np.float64(mlp.down[...])
    if activation == "swiglu":
        opened = x_BTD @ np.float64(mlp.gate[...])
        expected = (opened / (1 + np.exp(-opened)) * (x_BTD @ up)) @ down
    else:
        expected = np.maximum(x_BTD @ up, 0) ** 2 @ down
    np.testing.assert_allclose(mlp(jnp.asarray(x_BTD, jnp.float32)), expected, rtol=1e-4, atol=1e-6)


def test_the_backward_pass_keeps_what_the_first_products_gave_and_makes_the_activation_again():
    mlp = MLP(CONFIG, "swiglu", 10, nnx.Rngs(params=0))
    kept = jax.eval_shape(lambda x: jax.vjp(mlp, x)[1], jax.ShapeDtypeStruct((2, 3, 6), jnp.float32))
    assert [leaf.shape for leaf in jax.tree.leaves(kept)].count((2, 3, 10)) == 2
