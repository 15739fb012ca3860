"""Which attention a mesh's devices get."""

import jax
import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.kernels.attention.backends import attention_for, describe_kernels
from reasoning.kernels.attention.rule import Rule
from reasoning.planning.topology import libtpu_is_installed, topology_devices


def test_a_cpu_computes_long_rows_in_blocks_and_short_ones_at_once():
    found = attention_for("auto", build_mesh(MeshShape(), jax.devices()[:1]))
    assert str(found) == "plain XLA, up to 128 tokens at a time" and found.short == 128
    assert describe_kernels("auto", None).endswith("attention: plain XLA, up to 128 tokens at a time")


@pytest.mark.parametrize("time", [130, 192, 255])
def test_rows_that_whole_blocks_do_not_fill_are_attended_to_as_the_formula_says(time: int):
    random = np.random.default_rng(time)
    query, key, value = random.normal(size=(3, 1, time, 2, 4))
    heads_first = (array.swapaxes(1, 2).astype(np.float32) for array in (key, value))
    found = attention_for("auto", None).attend(
        query.astype(np.float32), *heads_first, np.ones((1, time), np.int32), Rule(0.5)
    )
    scores = np.where(np.tri(time) > 0, 0.5 * np.einsum("bthc,bshc->bhts", query, key), -np.inf)
    likely = np.exp(scores - scores.max(axis=-1, keepdims=True))
    expected = np.einsum("bhts,bshc->bthc", likely / likely.sum(axis=-1, keepdims=True), value)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_kernels_for_tpus_are_refused_elsewhere_unless_interpreted():
    with pytest.raises(InputError, match="the mesh's devices are cpu"):
        attention_for("pallas_tpu", None)
    assert str(attention_for("pallas_tpu_interpreted", None)) == "splash kernels, interpreted"
    told = describe_kernels("pallas_tpu_interpreted", None)
    assert told.endswith("gradients of experts: megablox, interpreted")
    assert (
        "splash kernels, interpreted, decoding: a ragged kernel over caches of 2 MiB a slot and layer or more;" in told
    )


@pytest.mark.skipif(not libtpu_is_installed(), reason="libtpu isn't installed")
def test_the_meshs_devices_choose_and_not_the_machine_that_plans():
    assert str(attention_for("auto", build_mesh(MeshShape(), topology_devices("v5e:2x2")))) == "splash kernels"
