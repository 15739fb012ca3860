"""What attention over rows reads, and that rows which begin alike attend as whole rows do.

Shapes: R groups of G rows, A places that a group shares, N of each row alone, U = A + G * N, B = R * G, T = A + N.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning.kernels.attention.backends import attention_for
from reasoning.models.config import BlockKind, ModelConfig, Stack
from reasoning.models.sequences import Group, attention_inputs, grouped_inputs, packed_inputs

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


@pytest.mark.parametrize("short", [128, 0], ids=["all scores at once", "in blocks"])
@pytest.mark.parametrize("kind", KINDS, ids=["window", "whole"])
def test_rows_that_begin_alike_attend_as_whole_rows_do(kind: BlockKind, short: int):
    kernel = replace(attention_for("chunked", None), short=short)
    # The first group's prompt has three tokens, the second's four; replies end in their own places.
    segments_BT = np.ones((6, 9), np.int32)
    segments_BT[:3, 0] = 0
    for row, end in enumerate((5, 9, 7, 8, 9, 6)):
        segments_BT[row, end:] = 2
    positions_BT = jnp.broadcast_to(jnp.arange(9), (6, 9))
    keys = jax.random.split(jax.random.key(0), 3)
    states = [
        GROUP.together(jax.random.normal(key, (6, 9, heads, 8))) for key, heads in zip(keys, (2, 1, 1), strict=True)
    ]
    query, key, value = states[0], states[1].swapaxes(1, 2), states[2].swapaxes(1, 2)
    grouped = grouped_inputs(CONFIG, kernel, GROUP.together(positions_BT), jnp.asarray(segments_BT), GROUP)(kind)
    whole = packed_inputs(CONFIG, kernel, positions_BT, jnp.asarray(segments_BT))(kind)
    expected = whole.attend(GROUP.apart(query), GROUP.apart(key, 2), GROUP.apart(value, 2), None)
    found = GROUP.apart(grouped.attend(query, key, value, None))
    np.testing.assert_allclose(found[segments_BT == 1], expected[segments_BT == 1], atol=1e-6)
