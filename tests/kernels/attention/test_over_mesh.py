"""Attention whose rows, heads and time are cut over eight devices is that of one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention_cases import Case

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.kernels.attention import splash
from reasoning.kernels.attention.backends import attention_for

CASE = Case(256, 4, 2, 16, 16, window=100)
MESHES = {
    "time over four": MeshShape(data=2, context=4),
    "rows, time and heads": MeshShape(data=1, fsdp=2, context=2, tensor=2),
}


@pytest.mark.parametrize("name", MESHES)
def test_values_and_gradients_are_those_of_one_device(name):
    mesh = build_mesh(MESHES[name])
    query, key, value, segments, above = CASE.arrays()

    def gradients(of):
        return jax.jit(jax.value_and_grad(lambda *arrays: jnp.sum(above * of(*arrays, segments, CASE.rule)), (0, 1, 2)))

    found = gradients(attention_for("chunked", mesh).attend)(query, key, value)
    wanted = gradients(attention_for("chunked", None).attend)(query, key, value)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5, rtol=1e-5)


def test_kernels_for_tpus_know_which_part_of_the_time_a_device_has():
    mesh = build_mesh(MeshShape(data=1, context=2), jax.devices()[:2])
    query, key, value, segments, _ = CASE.arrays(batch=1)
    found = jax.jit(lambda *arrays: splash.attend(*arrays, segments, CASE.rule, mesh, True))(query, key, value)
    wanted = attention_for("chunked", None).attend(query, key, value, segments, CASE.rule)
    np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=0)
