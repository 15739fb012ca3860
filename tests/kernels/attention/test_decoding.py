"""Which caches the kernel for decoding reads, and that devices which share them give what one gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.kernels.attention import ragged
from reasoning.kernels.attention.decoding import decoding_for
from reasoning.kernels.attention.rule import Rule
from reasoning.planning.topology import libtpu_is_installed, topology_devices


def cache_of(slots: int, key_heads: int, length: int) -> list[jax.ShapeDtypeStruct]:
    return 2 * [jax.ShapeDtypeStruct((slots, key_heads, length, 128), jnp.bfloat16)]


@pytest.mark.parametrize("key_heads", (2, 1), ids=("key heads in parts", "one of latents, held by all"))
def test_devices_that_share_slots_and_heads_give_what_one_gives(key_heads: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ragged, "_UNIT", 8)
    mesh, random = build_mesh(MeshShape(data=1, fsdp=2, tensor=2), jax.devices()[:4]), np.random.default_rng(1)
    query, *keys = (
        random.normal(size=shape).astype(np.float32)
        for shape in ((4, 4, 12), (4, key_heads, 40, 8), (4, key_heads, 40, 4))
    )
    counts, sinks = np.asarray([3, 40, 8, 17], np.int32), np.linspace(-1, 1, 4, dtype=np.float32)
    found, wanted = (
        jax.jit(decoding_for("pallas_tpu_interpreted", where).attend, static_argnums=3)(
            query, keys, counts, Rule(0.3), sinks
        )
        for where in (mesh, None)
    )
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_short_cache_is_left_to_plain_products_and_so_are_slots_that_devices_cannot_share():
    decoding = decoding_for("pallas_tpu_interpreted", None)
    assert decoding is not None
    for key_heads, enough in ((1, 4096), (8, 512)):
        for length, taken in ((enough - 1, False), (enough, True)):
            assert decoding.takes(cache_of(64, key_heads, length)) == taken
    over_four = decoding_for("pallas_tpu_interpreted", build_mesh(MeshShape(data=4), jax.devices()[:4]))
    over_heads = decoding_for("pallas_tpu_interpreted", build_mesh(MeshShape(data=1, tensor=4), jax.devices()[:4]))
    assert over_four is not None and over_heads is not None
    assert [over_four.takes(cache_of(slots, 8, 512)) for slots in (6, 8)] == [False, True]
    assert [over_heads.takes(cache_of(6, heads, 2048)) for heads in (1, 4, 8)] == [False, False, True]


@pytest.mark.skipif(not libtpu_is_installed(), reason="libtpu isn't installed")
def test_the_meshs_devices_choose():
    assert decoding_for("auto", None) is None
    decoding = decoding_for("auto", build_mesh(MeshShape(), topology_devices("v5p:2x2x1")))
    assert decoding is not None and not decoding.tpu.interpret and decoding.tpu.chip.cores == 2
