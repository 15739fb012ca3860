"""Which attention a mesh's devices get."""

import jax
import pytest

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.kernels.attention.backends import attention_for, describe_kernels
from reasoning.planning.topology import libtpu_is_installed, topology_devices


def test_a_cpu_computes_long_rows_in_blocks_and_short_ones_at_once():
    found = attention_for("auto", build_mesh(MeshShape(), jax.devices()[:1]))
    assert str(found) == "plain XLA, 128 tokens at a time" and found.short == 128
    assert "attention: plain XLA, 128 tokens at a time" in describe_kernels("auto", None)


def test_kernels_for_tpus_are_refused_elsewhere_unless_interpreted():
    with pytest.raises(InputError, match="the mesh's devices are cpu"):
        attention_for("pallas_tpu", None)
    assert str(attention_for("pallas_tpu_interpreted", None)) == "splash kernels, interpreted"


@pytest.mark.skipif(not libtpu_is_installed(), reason="libtpu isn't installed")
def test_the_meshs_devices_choose_and_not_the_machine_that_plans():
    assert str(attention_for("auto", build_mesh(MeshShape(), topology_devices("v5e:2x2")))) == "splash kernels"
