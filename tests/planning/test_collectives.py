"""The arrays that devices exchange are read from compiled programs, whatever the form of the instruction."""

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.planning.collectives import collective_shapes, repeated
from reasoning.planning.costs import cost_of
from reasoning.planning.hlo import read_module

MESH = build_mesh(MeshShape(data=1, fsdp=8))
LAYERS, WIDTH, ROWS = 3, 16, 40
STACK = jax.ShapeDtypeStruct((LAYERS, WIDTH, WIDTH), jnp.float32, sharding=NamedSharding(MESH, P(None, "fsdp")))
TOKENS = jax.ShapeDtypeStruct((ROWS, WIDTH), jnp.float32, sharding=NamedSharding(MESH, P("fsdp")))
WHOLE = NamedSharding(MESH, P())


def layer(x_BD, weight_DD):
    return jnp.tanh(x_BD @ jax.lax.with_sharding_constraint(weight_DD, WHOLE)), None


def inside(stack_LDD, x_BD):
    return jax.lax.scan(layer, x_BD, stack_LDD)[0]


def outside(stack_LDD, x_BD):
    return jax.lax.scan(layer, x_BD, jax.lax.with_sharding_constraint(stack_LDD, WHOLE))[0]


def text(function):
    return jax.jit(function).lower(STACK, TOKENS).compile().as_text()


def test_a_stack_that_is_gathered_layer_by_layer_shows_no_layers_axis():
    shapes = collective_shapes(text(inside), "all-gather")
    assert shapes
    assert all(LAYERS not in shape for shape in shapes)


def test_a_stack_that_is_gathered_outside_its_loop_shows_whole():
    assert (LAYERS, WIDTH, WIDTH) in collective_shapes(text(outside), "all-gather")


def test_tuples_layouts_and_asynchronous_forms_are_read():
    program = """
  %all-reduce.5 = (f32[]{:T(128)}, bf16[896]{0:T(1024)S(1)}, /*index=2*/f32[2,64]{1,0}) all-reduce(%a, %b, %c)
  ROOT all-gather.1 = bf16[1,14,64,896]{2,3,1,0:T(8,128)(2,1)} all-gather(%p), dimensions={3}
  %all-gather-start.2 = (f32[2,8]{1,0}, f32[16,8]{1,0}) all-gather-start(%q), dimensions={0}
  %all-gather-done.2 = f32[16,8]{1,0} all-gather-done(%all-gather-start.2)
  %fusion = f32[7,7]{1,0} fusion(%all-gather.1), calls=%all-gather-fusion
"""
    assert collective_shapes(program, "all-reduce") == [(896,), (2, 64)]
    assert collective_shapes(program, "all-gather") == [(1, 14, 64, 896), (2, 8), (16, 8)]
    assert collective_shapes(program, "reduce-scatter") == []


def gathering(name: str, channel: int) -> str:
    gather = f"all-gather(%p), channel_id={channel}, replica_groups={{{{0,1}}}}, dimensions={{0}}"
    return (
        f"%{name} (p: f32[2]) -> f32[4] {{\n  %p = f32[2]{{0}} parameter(0)\n  ROOT %g = f32[4]{{0}} {gather}\n}}\n\n"
    )


def test_an_exchange_that_products_go_on_beside_counts_where_it_begins():
    computations = gathering("begins", 1) + gathering("goes_on", 1) + gathering("ends", 1) + gathering("another", 2)
    called = ("begins", "goes_on", "ends", "another")
    lines = [f"  %f.{name} = f32[4]{{0}} fusion(%x), kind=kCustom, calls=%{name}\n" for name in called]
    entry = f"ENTRY %main (x: f32[2]) -> f32[4] {{\n  %x = f32[2]{{0}} parameter(0)\n{''.join(lines)}}}\n"
    module = read_module(computations + entry)
    assert repeated(module) == {("goes_on", "g"), ("ends", "g")}
    cost = cost_of(module, {})
    assert sum(cost.sent.values()) == 2 * 2 * 4 and cost.hbm == 2 * (2 + 4) * 4
