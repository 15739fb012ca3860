"""The checker finds every array that holds the logits of many tokens, and nothing else."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from reasoning.core.errors import InputError
from reasoning.planning.shapes import arrays_pairing

V, N, D = 1009, 96, 24


def naive_loss(hidden, matrix, targets):
    log_p = jax.nn.log_softmax(hidden @ matrix)
    return -jnp.take_along_axis(log_p, targets[..., None], axis=-1).mean()


def described(*leading):
    shapes = [(*leading, D), (D, V)]
    return *(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes), jax.ShapeDtypeStruct(leading, jnp.int32)


@pytest.mark.parametrize("leading", [(N,), (4, N // 4)])
def test_a_naive_loss_fails_in_every_form_of_the_program(leading):
    traced = jax.jit(jax.value_and_grad(naive_loss, argnums=(0, 1))).trace(*described(*leading))
    lowered = traced.lower()
    for program in (traced.jaxpr, lowered.as_text(), lowered.compile().as_text()):
        found = arrays_pairing(program, V, N)
        assert any(f"for {N} of {N} tokens" in line for line in found)


def test_a_program_without_logits_passes():
    traced = jax.jit(lambda h, w, y: (h.sum(), w * 2, y + 1)).trace(*described(N))
    assert arrays_pairing(traced.jaxpr, V, N) == []
    assert arrays_pairing(traced.lower().compile().as_text(), V, N) == []


@pytest.mark.parametrize("shape", [(N, V), (V, N), (4, N // 4, V), (N * V,), (4, N // 4 * V), (1, N, 1, V)])
def test_any_arrangement_of_the_logits_is_found(shape):
    sizes = ",".join(map(str, shape))
    text = f"  %fusion.3 = (f32[]{{}}, bf16[{sizes}]{{0}}) fusion(f32[2,3] %p), kind=kLoop"
    (line,) = arrays_pairing(text, V, N)
    assert line.startswith(f"bf16[{sizes}] at fusion.3")


def test_a_quarter_of_the_tokens_is_allowed_and_one_more_is_not():
    assert arrays_pairing(f"%a = f32[{N // 4},{V}] add()", V, N) == []
    assert len(arrays_pairing(f"%a = f32[{N // 4 + 1},{V}] add()", V, N)) == 1
    assert arrays_pairing(f"%a = f32[{N // 2},{V}] add()", V, N, share=0.5) == []


def test_each_shape_is_reported_once_at_its_first_instruction():
    text = f"%a = f32[{N},{V}] add()\nROOT b.2 = f32[{N},{V}] mul()\n%c = pred[{N},{V}] compare()"
    assert [line.split(":")[0] for line in arrays_pairing(text, V, N)] == [
        f"f32[{N},{V}] at a",
        f"pred[{N},{V}] at c",
    ]


def test_arrays_without_the_vocabulary_or_with_other_brackets_are_not_found():
    text = f"%a = f32[{N},{V + 1}] add(), slice={{[0:{N}], [0:{V}]}}, replica_groups=[{N},{V}]<=[{N * V}]"
    assert arrays_pairing(text, V, N) == []


def test_bounded_dimensions_count_at_their_bound():
    assert len(arrays_pairing(f"%a = s32[<={N},{V}] add()", V, N)) == 1


def test_parameters_are_left_out_in_any_order_of_their_dimensions():
    wide = 4 * N
    text = f"%a = f32[{wide},{V}] add()\n%b = f32[1,{V},{wide}] transpose()"
    assert len(arrays_pairing(text, V, N)) == 2
    assert arrays_pairing(text, V, N, weights=[(wide, V)]) == []


def test_a_parameter_that_looks_like_the_logits_is_refused():
    with pytest.raises(InputError, match="looks like the logits"):
        arrays_pairing("", V, N, weights=[(V, N)])


def outer_product(rows, columns):
    return jnp.zeros(rows)[:, None] * jnp.zeros(columns)[None, :]


@jax.custom_vjp
def with_own_gradient(value):
    return value + outer_product(N, V).sum()


with_own_gradient.defvjp(lambda value: (value, None), lambda _, upstream: (upstream,))

NESTED = {
    "scan": lambda: jax.lax.scan(lambda c, _: (c + outer_product(N, V).sum(), None), 0.0, None, length=2),
    "cond": lambda: jax.lax.cond(jnp.array(True), lambda: outer_product(N, V).sum(), lambda: 0.0),
    "while": lambda: jax.lax.while_loop(lambda c: c < 0, lambda c: c + outer_product(N, V).sum(), 1.0),
    "checkpoint": lambda: jax.checkpoint(lambda c: c + outer_product(N, V).sum())(1.0),
    "custom_vjp": lambda: with_own_gradient(1.0),
    "jit": lambda: jax.jit(lambda: outer_product(N, V).sum())(),
}


@pytest.mark.parametrize("program", NESTED.values(), ids=NESTED)
def test_nested_programs_are_walked(program):
    assert arrays_pairing(jax.make_jaxpr(program)(), V, N) != []


def test_inside_a_shard_map_shapes_are_one_devices():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    mapped = jax.shard_map(
        lambda h, w: jax.nn.logsumexp(h @ w, axis=-1), mesh=mesh, in_specs=(P("data"), P()), out_specs=P("data")
    )
    hidden, matrix, _ = described(N)
    traced = jax.jit(mapped).trace(hidden, matrix)
    assert arrays_pairing(traced.jaxpr, V, N) == []
    assert arrays_pairing(traced.jaxpr, V, N // 8, weights=[(D, V)]) != []
    assert arrays_pairing(traced.lower().compile().as_text(), V, N // 8, weights=[(D, V)]) != []


@pytest.mark.parametrize(("program", "vocabulary"), [(None, V), ("", 0)])
def test_what_is_no_program_or_no_vocabulary_is_refused(program, vocabulary):
    with pytest.raises(InputError):
        arrays_pairing(program, vocabulary, N)
