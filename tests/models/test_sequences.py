"""What attention over rows reads, and that rows which begin alike attend as whole rows do.

Shapes: R groups of G rows, A places that a group shares, N of each row alone, U = A + G * N, B = R * G, T = A + N.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.kernels.attention.backends import Attention, attention_for
from reasoning.models.config import BlockKind, ModelConfig, Stack
from reasoning.models.sequences import Group, attention_inputs, close_group, grouped_inputs, packed_inputs

KINDS = (BlockKind(window=3), BlockKind())
CONFIG = ModelConfig(vocabulary=32, width=16, heads=2, kv_heads=1, mlp_width=24, stacks=(Stack(1, KINDS),), context=32)
GROUP = Group(rows=3, shared=4)


def test_a_window_lets_a_token_see_itself_and_those_just_before_it():
    order = jnp.arange(6)
    distance = (order[:, None] - order[None, :])[None]
    inputs_of = attention_inputs(CONFIG, order[None], distance >= 0, distance)
    np.testing.assert_array_equal(inputs_of(KINDS[0]).mask_BTS[0, 5], [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(inputs_of(KINDS[1]).mask_BTS[0, 5], [1, 1, 1, 1, 1, 1])


def test_rows_that_begin_alike_are_laid_out_together_and_apart_again():
    rows_BT = np.array([[1, 2, 3, 4, 10 * row, 10 * row + 1] for row in range(6)])
    together_RU = GROUP.together(jnp.asarray(rows_BT))
    np.testing.assert_array_equal(together_RU[1], [1, 2, 3, 4, 30, 31, 40, 41, 50, 51])
    np.testing.assert_array_equal(GROUP.apart(together_RU), rows_BT)
    np.testing.assert_array_equal(GROUP.own(together_RU), rows_BT[:, 4:])


ENDS_B = np.array([5, 9, 7, 8, 9, 9])
CLOSE = close_group(GROUP, jnp.asarray(ENDS_B - 4), 5, 14)
"""Replies of up to 5 tokens that have 9 and 14 together; the last fills its row, and its group the room."""

TWO = build_mesh(MeshShape(data=2), jax.devices()[:2])


@pytest.mark.parametrize("group", [GROUP, CLOSE], ids=["as long as may be", "close together"])
@pytest.mark.parametrize(
    "kernel",
    [
        attention_for("chunked", None),
        replace(attention_for("chunked", None), short=0),
        replace(attention_for("chunked", TWO), short=0),
        attention_for("pallas_tpu_interpreted", None),
    ],
    ids=["all scores at once", "in blocks", "on two devices", "by TPUs' kernels"],
)
@pytest.mark.parametrize("kind", KINDS, ids=["window", "whole"])
def test_rows_that_begin_alike_attend_as_whole_rows_do(kind: BlockKind, kernel: Attention, group: Group):
    # The first group's prompt has three tokens, the second's four; replies end in their own places.
    segments_BT = np.ones((6, 9), np.int32)
    segments_BT[:3, 0] = 0
    for row, end in enumerate(ENDS_B):
        segments_BT[row, end:] = 2
    positions_BT = jnp.broadcast_to(jnp.arange(9), (6, 9))
    keys, inside = jax.random.split(jax.random.key(0), 4), jnp.asarray(segments_BT == 1)
    above = jax.random.normal(keys[3], (6, 9, 2, 8)) * inside[..., None, None]

    @jax.jit
    def attended(*states: jax.Array) -> tuple[jax.Array, ...]:
        """Of whole rows, and of a group's."""

        def by_row() -> jax.Array:
            whole = packed_inputs(CONFIG, kernel, positions_BT, jnp.asarray(segments_BT))(kind)
            query, key, value = (group.apart(group.together(one)) for one in states)
            return whole.attend(query, key.swapaxes(1, 2), value.swapaxes(1, 2), None)

        query, key, value = (group.together(one) for one in states)
        given = CONFIG, kernel, group.together(positions_BT), jnp.asarray(segments_BT), group
        mixed = grouped_inputs(*given)(kind).attend(query, key.swapaxes(1, 2), value.swapaxes(1, 2), None)
        return by_row(), group.apart(mixed)

    states = [jax.random.normal(key, (6, 9, heads, 8)) for key, heads in zip(keys[:3], (2, 1, 1), strict=True)]
    expected, found = attended(*states)
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-6)
    gradients = [
        jax.grad(lambda *states, way=way: jnp.sum(above * attended(*states)[way]), (0, 1, 2)) for way in (0, 1)
    ]
    for one, other in zip(gradients[1](*states), gradients[0](*states), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
