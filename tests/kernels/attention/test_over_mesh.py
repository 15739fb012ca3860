"""Attention whose rows, heads and time are cut over eight devices is that of one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention_cases import Case

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.kernels.attention import splash
from reasoning.kernels.attention.backends import attention_for
from reasoning.kernels.attention.over_mesh import query_order

CASE = Case(256, 4, 2, 16, 16, window=100)
MESHES = {
    "time over four": MeshShape(data=2, context=4),
    "rows, time and heads": MeshShape(data=1, fsdp=2, context=2, tensor=2),
}


@pytest.mark.parametrize("name", MESHES)
def test_values_and_gradients_are_those_of_one_device(name):
    mesh = build_mesh(MESHES[name])
    query, key, value, segments, above = CASE.arrays()
    sinks = jnp.linspace(-1.0, 3.0, CASE.heads)

    def gradients(of):
        def loss(query, key, value, sinks):
            return jnp.sum(above * of(query, key, value, segments, CASE.rule, sinks))

        return jax.jit(jax.value_and_grad(loss, (0, 1, 2, 3)))

    found = gradients(attention_for("chunked", mesh).attend)(query, key, value, sinks)
    wanted = gradients(attention_for("chunked", None).attend)(query, key, value, sinks)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("devices", (2, 3, 4, 8))
def test_each_device_reads_as_many_keys_as_every_other_and_each_query_is_computed_once(devices: int):
    length, unit = 2 * devices * 5 * 3, 5
    order = query_order(length, devices, unit)
    np.testing.assert_array_equal(np.sort(order), np.arange(length))
    keys = (order + 1).reshape(devices, -1).sum(axis=1)  # a query reads itself and all before it
    assert set(keys) == {length * (length + 1) // 2 // devices}
    runs = order.reshape(-1, unit)
    assert np.all(np.diff(runs, axis=1) == 1) and np.all(runs[:, 0] % unit == 0)


def test_time_that_cannot_be_cut_twice_as_often_stays_in_order():
    np.testing.assert_array_equal(query_order(6, 2, 3), np.arange(6))
    np.testing.assert_array_equal(query_order(7, 1, 1), np.arange(7))


@pytest.mark.parametrize("time", (256, 512), ids=("in order", "balanced"))
def test_kernels_for_tpus_know_which_part_of_the_time_a_device_has(time: int):
    mesh = build_mesh(MeshShape(data=1, context=2), jax.devices()[:2])
    case = Case(time, 2, 1, 16, 16, window=150)
    query, key, value, segments, above = case.arrays(batch=1)

    def gradients(of):
        return jax.jit(jax.value_and_grad(lambda *arrays: jnp.sum(above * of(*arrays, segments, case.rule)), (0, 1, 2)))

    found = gradients(lambda *arguments: splash.attend(*arguments, mesh=mesh, interpret=True))(query, key, value)
    wanted = gradients(attention_for("chunked", None).attend)(query, key, value)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-5)
