"""Splash kernels over texts that begin alike: interpreted, against the chunks, and compiled for chips from afar."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention_cases import Case

from reasoning.core.mesh import MeshShape, build_mesh, partition
from reasoning.kernels.attention import branching, chunked, splash
from reasoning.planning.programs import no_compilation_cache
from reasoning.planning.shapes import arrays_pairing
from reasoning.planning.topology import libtpu_is_installed, topology_devices

SHARED = 150
LENGTHS = ((200, 3, 90, 200, 180, 33), (10, 120, 40, 33, 170, 200, 150, 60))
"""How long the texts of two rows go on behind what they share, of which 20 places in the second row are padding."""


def texts(time: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Segments, places in their texts, and which places are somebody's, of both rows."""
    segments, order = np.zeros((2, time), np.int32), np.zeros((2, time), np.int32)
    order[:, :SHARED] = np.arange(SHARED)
    segments[0, :SHARED], segments[1, 20:SHARED] = 1, 1
    for row, lengths in enumerate(LENGTHS):
        numbers = np.repeat(np.arange(len(lengths)), lengths)
        within = np.concatenate([np.arange(length) for length in lengths])
        end = SHARED + len(numbers)
        segments[row, SHARED:end], order[row, SHARED:end] = 2 + numbers, SHARED + within
        segments[row, end:], order[row, end:] = 100 + np.arange(time - end), SHARED + 7
    return jnp.asarray(segments), jnp.asarray(order), jnp.asarray((segments > 0) & (segments < 100))


@pytest.mark.parametrize(
    ("window", "soft_cap", "devices"),
    [(0, None, 1), (70, 3.0, 1), (0, None, 2)],
    ids=["whole", "window", "two devices"],
)
def test_interpreted_kernels_give_what_the_chunks_give_with_their_gradients(window, soft_cap, devices):
    case = Case(1152, 2, 1, 64, 64, soft_cap=soft_cap, window=window)
    query, key, value, _, above = case.arrays(seed=5)
    segments, order, real = texts(case.time)
    rule, sinks = replace(case.rule, shared=SHARED, alone=200), jnp.linspace(-1.0, 3.0, case.heads)
    mesh = None if devices == 1 else build_mesh(MeshShape(data=2), jax.devices()[:2])

    def of_kernels(*arrays: jax.Array) -> tuple[jax.Array, jax.Array]:
        given = *arrays[:3], segments, rule, arrays[3], order
        mixed = splash.attend(*given, mesh=mesh, interpret=True)
        return jnp.sum(above * mixed * real[..., None, None]), mixed

    def of_chunks(*arrays: jax.Array) -> tuple[jax.Array, jax.Array]:
        mixed = chunked.attend(*arrays[:3], segments, jnp.arange(case.time), rule, 64, arrays[3], order)
        return jnp.sum(above * mixed * real[..., None, None]), mixed

    both = [jax.jit(jax.value_and_grad(of, (0, 1, 2, 3), has_aux=True)) for of in (of_kernels, of_chunks)]
    ((_, found), gradients), ((_, wanted), expected) = (each(query, key, value, sinks) for each in both)
    assert np.isfinite(np.asarray(found)).all()
    np.testing.assert_allclose(found[real], wanted[real], atol=1e-5, rtol=0)
    for one, other in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5, rtol=1e-5)


def test_blocks_of_other_texts_are_not_computed_and_what_stands_behind_all_is_finite():
    # Keys that nobody of the last text may read are NaN: their block, of 256, would show in the sums.
    case = Case(768, 1, 1, 64, 64)
    query, key, value, _, _ = case.arrays(batch=1)
    segments = jnp.asarray(np.repeat([1, 2, 3, 4], [128, 384, 200, 56])[None], jnp.int32)
    order = np.concatenate([np.arange(128), 128 + np.arange(384), 128 + np.arange(200), np.full(56, 128)])[None]
    poisoned = value.at[:, :, 256:512].set(jnp.nan)
    rule = replace(case.rule, shared=128, alone=384)
    given = query, key, poisoned, segments, rule, None, jnp.asarray(order)
    found = np.asarray(jax.jit(lambda: splash.attend(*given, mesh=None, interpret=True))())
    assert np.isfinite(found[:, 512:]).all() and np.isfinite(found[:, :256]).all()


def test_rows_are_taken_that_have_room_in_numbers_and_cost_no_more_blocks_than_rows_of_their_own():
    assert branching.takes(16, 1024, 32_768, 131_072) and branching.takes(8, 1024, 32_768, 66_560)
    assert not branching.takes(16, 1024, 32_768, 131_073) and not branching.takes(64, 1024, 32_769, 70_000)
    assert not branching.takes(8, 1024, 32_768, 1024 + 131_072)  # all pairs of blocks are more than of eight rows


@pytest.mark.slow
@pytest.mark.skipif(not libtpu_is_installed(), reason="libtpu isn't installed")
@pytest.mark.parametrize("chips", ["v5e:2x2", "v6e:2x2"])
def test_eight_replies_of_up_to_32k_compile_for_chips_without_an_array_of_all_scores(chips: str):
    mesh, length = build_mesh(MeshShape(data=2, tensor=2), topology_devices(chips)), 66_560

    def of(*axes: str | None, sizes: tuple[int, ...], dtype: str = "bfloat16") -> jax.ShapeDtypeStruct:
        place = jax.sharding.NamedSharding(mesh, partition(axes))
        return jax.ShapeDtypeStruct((2, *sizes), dtype, sharding=place)

    def loss(query, key, value, segments, order):
        rule = replace(Case(length, 28, 4, 128, 128).rule, shared=1024, alone=32_768)
        mixed = splash.attend(query, key, value, segments, rule, None, order, mesh=mesh, interpret=False)
        return jnp.sum(mixed.astype(jnp.float32))

    query = of("batch", None, "heads", None, sizes=(length, 28, 128))
    key = of("batch", "kv_heads", None, None, sizes=(4, length, 128))
    row = of("batch", None, sizes=(length,), dtype="int32")
    with no_compilation_cache():
        text = jax.jit(jax.grad(loss, (0, 1, 2))).lower(query, key, key, row, row).compile().as_text()
    assert text.count("tpu_custom_call") >= 3  # forward, and two backward
    assert not arrays_pairing(text, length, length)
