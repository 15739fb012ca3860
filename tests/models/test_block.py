"""A block of one token against float64 numpy: attention over one key is that key's value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from reasoning.models.attend import attend
from reasoning.models.attention import AttentionInputs, SequenceInputs
from reasoning.models.block import Block
from reasoning.models.config import BlockKind, ModelConfig, MoE, Stack
from reasoning.models.parameters import Placement

SIZES = {"vocabulary": 8, "width": 6, "heads": 1, "head_dim": 4, "mlp_width": 5, "stacks": (Stack(1),), "context": 8}
ONE_TOKEN = AttentionInputs(jnp.ones((2, 3, 1, 2)), jnp.ones((3, 1, 1), bool))
WHOLE = SequenceInputs(
    ONE_TOKEN.cos_sin_2BTh,
    lambda query, key, value, sinks: attend(query, key, value, ONE_TOKEN.mask_BTS, ModelConfig(**SIZES), sinks),
)
MASK_BT = jnp.ones((3, 1))


@pytest.fixture(autouse=True)
def _without_a_mesh():
    """Parameters are made on one device, as ``model.init`` makes them."""
    with nnx.use_eager_sharding(False):
        yield


def block_of(norms: str, kind: BlockKind) -> Block:
    """A block whose norms scale by other numbers than one."""
    block = Block(ModelConfig(**SIZES, norms=norms), kind, nnx.Rngs(params=0))
    for number, (_, module) in enumerate(nnx.iter_modules(block)):
        if hasattr(module, "scale"):
            module.scale[...] = module.scale[...] + 0.1 * (1 + number)
    return block


def normed(norm, x):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * np.float64(norm.scale[...])


@pytest.mark.parametrize("norms", ["before", "after", "both"])
def test_attention_and_mlp_are_added_to_what_came_in_with_norms_where_the_config_says(norms):
    block = block_of(norms, BlockKind("relu2"))
    x_BTD = np.random.default_rng(0).normal(size=(3, 1, 6))
    value, output = (np.float64(matrix[...]) for matrix in (block.attention.value, block.attention.output))
    up, down = np.float64(block.mlp.up[...]), np.float64(block.mlp.down[...])
    expected = x_BTD
    for name, change in (
        ("attention", lambda x: x @ value[:, 0] @ output[0]),
        ("mlp", lambda x: np.maximum(x @ up, 0) ** 2 @ down),
    ):
        inner = expected if norms == "after" else normed(getattr(block, f"{name}_norm"), expected)
        added = change(inner)
        expected = expected + (added if norms == "before" else normed(getattr(block, f"{name}_post_norm"), added))
    out_BTD, aux = block(jnp.asarray(x_BTD, jnp.float32), WHOLE, MASK_BT, Placement(None))
    np.testing.assert_allclose(out_BTD, expected, rtol=1e-4, atol=1e-5)
    assert aux == {}


def test_experts_say_their_load_and_balance_loss_and_decoding_asks_for_none():
    moe = MoE(experts=4, active=2, mlp_width=5, balance_loss=0.1)
    block = block_of("before", BlockKind(moe=moe))
    x_BTD = jax.random.normal(jax.random.key(0), (3, 1, 6))
    out_BTD, aux = block(x_BTD, WHOLE, MASK_BT, Placement(None))
    assert aux["load"].shape == (4,) and aux["balance"].shape == (3,)
    assert aux["load"].sum() == 3 * moe.active
    cache = tuple(jnp.zeros((3, 1, 1, 4)) for _ in range(2))
    extended_BTD, (keys, _) = block.extend(x_BTD, ONE_TOKEN, cache, jnp.zeros(3, jnp.int32), Placement(None))
    np.testing.assert_allclose(extended_BTD, out_BTD, rtol=1e-5, atol=1e-6)
    assert jnp.abs(keys).min() > 0
