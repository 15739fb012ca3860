"""Loops count by their turns, products by the formula of papers, exchanges by the least that they must send."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from tiny_stages import MODEL

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.config import BlockKind, Stack
from reasoning.models.flops import forward_flops
from reasoning.models.model import build_model
from reasoning.planning.collectives import COLLECTIVES
from reasoning.planning.costs import Exchange, cost_of, largest_arrays
from reasoning.planning.hlo import read_module

MESH = build_mesh(MeshShape(data=2, fsdp=4))


def module_of(function, *arguments, **how):
    return read_module(jax.jit(function, **how).lower(*arguments).compile().as_text() or "")


def forward(layers: int, rows: int = 4) -> float:
    """Counted products of a forward pass, by the formula's."""
    config = replace(
        MODEL, width=64, mlp_width=256, vocabulary=512, context=64, stacks=(Stack(layers, (BlockKind("swiglu"),)),)
    )
    model, one = build_model(config), jax.ShapeDtypeStruct((rows, 64), jnp.int32)

    def logits(params, tokens):
        hidden, _ = model.hidden_states(params, tokens, tokens * 0, tokens * 0 + 1)
        return hidden @ model.unembedding(params)

    return cost_of(module_of(logits, model.shapes, one), {}).flops / forward_flops(config, rows * 64, 64)


@pytest.mark.parametrize("layers", [2, 32])
def test_scanned_layers_count_each_by_the_models_formula(layers):
    assert forward(layers) == pytest.approx(1.0, rel=0.02)


def test_products_are_those_of_the_compiler_where_nothing_loops():
    a, b = jax.ShapeDtypeStruct((48, 32), jnp.float32), jax.ShapeDtypeStruct((5, 32, 16), jnp.float32)

    def function(a, b):
        return jnp.einsum("ij,bjk->bik", a, b)

    compiled = jax.jit(function).lower(a, b).compile()
    assert cost_of(module_of(function, a, b), {}).flops == 2 * 5 * 48 * 32 * 16
    assert compiled.cost_analysis()["flops"] == pytest.approx(2 * 5 * 48 * 32 * 16, rel=0.05)


def test_loops_whose_turns_only_data_tell_count_as_often_as_they_are_said_to():
    def loop(x, count):
        with jax.named_scope("writing"):
            return jax.lax.while_loop(lambda now: now[0] < count, lambda now: (now[0] + 1, now[1] @ x), (0, x))[1]

    module = module_of(loop, jax.ShapeDtypeStruct((16, 16), jnp.float32), jax.ShapeDtypeStruct((), jnp.int32))
    once = cost_of(module, {}).flops
    assert once == 2 * 16**3
    assert cost_of(module, {"writing": 7}).flops == 7 * once
    assert cost_of(module, {"reading": 7}).flops == once


def test_of_branches_the_dearest_counts():
    def branch(x, which):
        return jax.lax.switch(which, [lambda: x, lambda: x @ x, lambda: x @ x @ x], *())

    module = module_of(branch, jax.ShapeDtypeStruct((16, 16), jnp.float32), jax.ShapeDtypeStruct((), jnp.int32))
    assert cost_of(module, {}).flops == 2 * 2 * 16**3


def test_a_slice_of_a_stack_is_read_and_not_the_stack():
    stack, one = jax.ShapeDtypeStruct((64, 128, 128), jnp.float32), jax.ShapeDtypeStruct((128, 128), jnp.float32)
    module = module_of(lambda stack, x: jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, stack)[0], stack, one)
    traffic = cost_of(module, {}).hbm
    assert 64 * 3 * one.size * 4 <= traffic <= 64 * 12 * one.size * 4


def test_an_all_gather_in_a_loop_is_sent_each_time_along_its_axis():
    stack = jax.ShapeDtypeStruct((3, 16, 16), jnp.float32, sharding=NamedSharding(MESH, P(None, "fsdp")))
    rows = jax.ShapeDtypeStruct((40, 16), jnp.float32, sharding=NamedSharding(MESH, P(("data", "fsdp"))))
    whole = NamedSharding(MESH, P())

    def layer(x, weight):
        return jnp.tanh(x @ jax.lax.with_sharding_constraint(weight, whole)), None

    cost = cost_of(module_of(lambda stack, x: jax.lax.scan(layer, x, stack)[0], stack, rows), {})
    [(exchange, sent)] = [(exchange, sent) for exchange, sent in cost.sent.items() if exchange.kind == "all-gather"]
    assert exchange == Exchange("all-gather", (0, 1, 2, 3))
    assert sent == 3 * 16 * 16 * 4 * 3 / 4 and cost.held[exchange] == 3 * 16 * 16 * 4
    assert exchange.kind in COLLECTIVES


def test_the_largest_arrays_are_named():
    module = module_of(
        lambda x: (jnp.sin(x)[:, None] * x[None, :]).sort(axis=0), jax.ShapeDtypeStruct((64,), jnp.float32)
    )
    [(name, size), *_] = largest_arrays(module, 3)
    assert name.startswith("f32[64,64]") and size == 64 * 64 * 4


@pytest.mark.parametrize(
    ("line", "flops"),
    [
        # A batch of 24 rows as a spatial axis, and a product with four heads at once.
        ("convolution(%a, %b), window={size=1x4 pad=0_0x3_3 rhs_reversal=0x1}, dim_labels=0bf1_i1o0->0b1f", 14155776),
        ('custom-call(%a, %b), custom_call_target="k", backend_config={"cost_estimate":{"flops":"77"}}', 77),
    ],
)
def test_products_of_tpus_are_convolutions_and_kernels_tell_of_themselves(line, flops):
    text = f"""ENTRY %main (a: f32[24,72,64,1], b: f32[64,4,16,1]) -> f32[24,72,4,16] {{
  %a = f32[24,72,64,1]{{1,2,3,0}} parameter(0)
  %b = f32[64,4,16,1]{{2,0,1,3}} parameter(1)
  ROOT %c = f32[24,72,4,16]{{1,3,2,0}} {line}
}}
"""
    assert cost_of(read_module(text), {}).flops == flops


def test_a_weight_that_is_fetched_in_pieces_is_read_once() -> None:
    piece = "(bf16[64,32]{1,0}, bf16[16,32]{1,0:S(1)}, s32[]{:S(2)}) slice-start(%w), slice={[0:16], [0:32]}"
    lines = ["  %w = bf16[64,32]{1,0} parameter(0)", *(f"  %piece.{at} = {piece}" for at in range(4))]
    body = "\n".join(lines)
    text = f"HloModule m\n\nENTRY %main (w: bf16[64,32]) -> bf16[64,32] {{\n{body}\n}}\n"
    assert cost_of(read_module(text), {}).hbm == 2 * 64 * 32
