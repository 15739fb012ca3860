"""Attention in blocks against its formula in float64, and its gradients against those of all scores at once."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention_cases import CASES, Case, oracle

from reasoning.kernels.attention.chunked import attend
from reasoning.models.attention import attend as attend_at_once
from reasoning.models.config import ModelConfig, Stack
from reasoning.planning.shapes import arrays_pairing

attended = jax.jit(attend, static_argnums=(5, 6))


def config_of(case: Case) -> ModelConfig:
    """A model whose attention has the case's rule."""
    return ModelConfig(
        vocabulary=8,
        width=24,
        heads=case.heads,
        mlp_width=8,
        stacks=(Stack(1),),
        context=8,
        attention_scale=case.rule.scale,
        attention_soft_cap=case.soft_cap or 0.0,
    )


def at_once(case: Case, query, key, value, segments, sinks=None) -> jax.Array:
    """What JAX itself makes of all scores, and derives gradients of."""
    place = jnp.arange(case.time)
    back = (place[:, None] - place[None, :])[None]
    mask = (back >= 0) & (segments[:, :, None] == segments[:, None, :])
    if case.window:
        mask &= back < case.window
    return attend_at_once(query, key, value, mask, config_of(case), sinks)


@pytest.mark.parametrize("name", CASES)
def test_blocks_give_the_formulas_result_and_the_gradients_of_all_scores_at_once(name):
    case = CASES[name]
    query, key, value, segments, above = case.arrays(seed=1)

    def of_blocks(*arrays: jax.Array) -> tuple[jax.Array, jax.Array]:
        mixed = attend(*arrays, segments, jnp.arange(case.time), case.rule, 16)
        return jnp.sum(above * mixed), mixed

    def of_all(*arrays: jax.Array) -> jax.Array:
        return jnp.sum(above * at_once(case, *arrays, segments))

    @jax.jit
    def both(*arrays: jax.Array) -> tuple:
        return jax.value_and_grad(of_blocks, (0, 1, 2), has_aux=True)(*arrays), jax.grad(of_all, (0, 1, 2))(*arrays)

    ((_, mixed), found), wanted = both(query, key, value)
    np.testing.assert_allclose(mixed, oracle(case, query, key, value, segments), atol=1e-5, rtol=0)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5, rtol=0)


def test_sinks_take_weight_and_get_the_gradients_of_all_scores_at_once():
    case = CASES["a window"]
    query, key, value, segments, above = case.arrays(seed=3)
    sinks = jnp.linspace(-1.0, 3.0, case.heads)

    def of_blocks(*arrays: jax.Array) -> jax.Array:
        return jnp.sum(above * attend(*arrays[:3], segments, jnp.arange(case.time), case.rule, 16, arrays[3]))

    def of_all(*arrays: jax.Array) -> jax.Array:
        return jnp.sum(above * at_once(case, *arrays[:3], segments, arrays[3]))

    arguments = query, key, value, sinks
    found, wanted = (jax.jit(jax.value_and_grad(of, (0, 1, 2, 3)))(*arguments) for of in (of_blocks, of_all))
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-5)
    for one, other in zip(found[1], wanted[1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-5)


SHARED = 37
"""Places that the texts of a row begin with; the second row's first 20 are of no segment."""

LONG, SHORT = (90, 6), (1, 30, 12, 40, 9)
"""How long the texts of the two rows go on; what is behind them is nobody's."""


def branching(time: int) -> tuple[np.ndarray, np.ndarray]:
    """Segments and places in their texts of both rows."""
    segments, order = np.zeros((2, time), np.int32), np.zeros((2, time), np.int32)
    order[:, :SHARED] = np.arange(SHARED)
    segments[0, :SHARED], segments[1, 20:SHARED] = 1, 1
    for row, lengths in enumerate((LONG, SHORT)):
        ends = SHARED + np.cumsum(lengths)
        for number, (end, length) in enumerate(zip(ends, lengths, strict=True)):
            segments[row, end - length : end] = 2 + number
            order[row, end - length : end] = SHARED + np.arange(length)
        segments[row, ends[-1] :] = 100 + np.arange(time - ends[-1])
    return segments, order


@pytest.mark.parametrize("window", [0, 25, 60])
def test_texts_that_begin_alike_read_what_they_share_and_then_themselves(window: int):
    case = Case(140, 2, 1, 8, 8, window=window)
    rule = replace(case.rule, shared=SHARED)
    query, key, value, _, above = case.arrays(seed=4)
    segments, order = branching(case.time)
    mask, real = np.zeros((2, case.time, case.time), bool), segments > 0
    for row, one, other in np.ndindex(*mask.shape):
        shared = other < SHARED and segments[row, other] == 1
        back = order[row, one] - order[row, other]
        readable = shared or segments[row, one] == segments[row, other]
        mask[row, one, other] = readable and 0 <= back < (window or case.time)
    above = above * real[..., None, None]
    sinks = jnp.asarray([0.5, -1.0])

    def of_blocks(*arrays: jax.Array) -> jax.Array:
        told = jnp.asarray(segments), jnp.arange(case.time), rule, 16
        return jnp.sum(above * attend(*arrays[:3], *told, arrays[3], jnp.asarray(order)))

    def of_all(*arrays: jax.Array) -> jax.Array:
        return jnp.sum(above * attend_at_once(*arrays[:3], jnp.asarray(mask), config_of(case), arrays[3]))

    arguments = query, key, value, sinks
    found, wanted = (jax.jit(jax.value_and_grad(of, (0, 1, 2, 3)))(*arguments) for of in (of_blocks, of_all))
    np.testing.assert_allclose(found[0], wanted[0], atol=1e-5)
    for one, other in zip(found[1], wanted[1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-5)


def test_blocks_between_what_texts_share_and_themselves_are_not_computed():
    # Keys that nobody of the last text may read are NaN: a block of them would show in the sums.
    case = Case(140, 1, 1, 8, 8)
    query, key, value, _, _ = case.arrays(batch=1)
    segments = np.repeat([1, 2, 3], [32, 64, 44])[None]
    order = np.concatenate([np.arange(32), 32 + np.arange(64), 32 + np.arange(44)])[None]
    poisoned = value.at[:, :, 32:96].set(jnp.nan)
    places, rule = jnp.arange(96, 140), replace(case.rule, shared=32)
    given = query[:, 96:], key, poisoned, jnp.asarray(segments), places, rule, 16, None, jnp.asarray(order)
    found = jax.jit(attend, static_argnums=(5, 6))(*given)
    text = np.r_[0:32, 96:140]
    one = query[:, text], key[:, :, text], value[:, :, text], jnp.ones((1, 76), jnp.int32), jnp.arange(76)
    alone = attended(*one, case.rule, 16)
    np.testing.assert_allclose(found, alone[:, 32:], atol=1e-5, rtol=0)


def test_a_block_larger_than_the_row_gives_the_same():
    case = CASES["all at once"]
    query, key, value, segments, _ = case.arrays()
    found = attended(query, key, value, segments, jnp.arange(case.time), case.rule, 64)
    np.testing.assert_allclose(found, oracle(case, query, key, value, segments), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ("a window", "latent: wider queries than values"))
def test_queries_of_any_places_and_order_read_what_they_read_in_the_whole(name: str):
    case = CASES[name]
    query, key, value, segments, _ = case.arrays(seed=2)
    places = jnp.asarray([*range(30, 41), *range(5, 17)])
    whole = attended(query, key, value, segments, jnp.arange(case.time), case.rule, 16)
    part = jax.jit(lambda places: attend(query[:, places], key, value, segments, places, case.rule, 16))(places)
    np.testing.assert_allclose(part, whole[:, places], atol=1e-6, rtol=0)


def test_narrow_arrays_have_float32_sums():
    case = Case(96, 2, 1, 16, 16)
    query, key, value, segments, _ = case.arrays(dtype="bfloat16")
    found = attended(query, key, value, segments, jnp.arange(case.time), case.rule, 32)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(found, np.float32), oracle(case, query, key, value, segments), atol=0.02)


def test_no_array_of_a_step_pairs_all_queries_with_all_keys():
    case = Case(1031, 2, 1, 8, 8)
    query, key, value, segments, above = case.arrays()

    def loss(*arrays: jax.Array) -> jax.Array:
        return jnp.sum(above * attend(*arrays, segments, jnp.arange(case.time), case.rule, 64))

    text = jax.jit(jax.grad(loss, (0, 1, 2))).lower(query, key, value).compile().as_text()
    for rows in (case.time, -(-case.time // 64) * 64):
        assert not arrays_pairing(text, rows, rows)


def test_blocks_of_other_segments_and_beyond_the_window_are_not_computed():
    # Keys that nobody reads are NaN: a block of them that was computed would show in the sums.
    case = Case(128, 1, 1, 8, 8, window=16)
    query, key, value, _, _ = case.arrays()
    segments = jnp.repeat(jnp.arange(1, 5, dtype=jnp.int32), 32)[None].repeat(2, axis=0)
    poisoned = value.at[:, :, :64].set(jnp.nan)
    found = attended(query[:, 64:], key, poisoned, segments, jnp.arange(64, 128), case.rule, 16)
    assert np.isfinite(np.asarray(found)).all()
