"""Replies to one prompt that are read together: the losses and gradients of whole rows, by fewer tokens.

Shapes: B rows, T time.
"""

from dataclasses import replace
from functools import cache
from typing import Any

import jax
import numpy as np
import pytest
import three_steps
from drawn import drawn
from policy_batches import GROUP, MODEL, NEW, off_policy, parameters, rollouts

from reasoning.core.mesh import MeshShape, build_mesh, data_parallel_size, row_sharding
from reasoning.models.config import BlockKind, MoE, Stack
from reasoning.models.model import Model, build_model
from reasoning.objectives.aggregation import token_mean
from reasoning.objectives.divergence import reverse
from reasoning.objectives.kl import k3
from reasoning.objectives.policy import GSPO
from reasoning.training.losses import distill_on_policy, policy
from reasoning.training.shared_prompts import ReplyGroups, computed_places
from reasoning.training.step import Spread, gradients

GROUPS = ReplyGroups(GROUP, 9, NEW)  # prompts of 3 to 9 tokens


@cache
def gradient(
    groups: ReplyGroups | None, microbatches: int = 1, room: int | None = None, model: Model = MODEL
) -> tuple[Any, Any, Any]:
    """Gradient, loss and metrics off-policy, with a loss that reads whole rows and a KL term."""
    params = parameters()
    batch, _ = off_policy(params, token_mean, 1.0)
    batch = replace(batch, rows=replace(batch.rows, room=room))
    loss_fn = policy(model, loss=GSPO(0.01, 0.01), kl=k3, kl_coefficient=0.04, temperature=0.8, groups=groups)
    devices = 1 if model.mesh is None else data_parallel_size(model.mesh)
    if model.mesh is not None:
        batch = jax.device_put(batch, row_sharding(model.mesh))
    return jax.jit(lambda batch: gradients(loss_fn, params, {}, batch, microbatches, devices)[:3])(batch)


LENGTHS_B = (three_steps.rollout_rows()[0]["replies"] > 0).sum(axis=1)
NEEDED = int(np.ceil(LENGTHS_B.reshape(-1, GROUP).mean(axis=1).max()))
"""The room that suffices for the group with the longest replies, and for no less."""


INTERPRETED = build_model(MODEL.config, None, "pallas_tpu_interpreted")
TWO = build_model(MODEL.config, build_mesh(MeshShape(data=2), jax.devices()[:2]))


@pytest.mark.parametrize(
    ("microbatches", "room", "model"),
    [(1, None, MODEL), (2, NEEDED, MODEL), (1, NEEDED, TWO), (1, NEEDED, INTERPRETED)],
    ids=["as long as may be", "close together", "close together on two devices", "close together by TPUs' kernels"],
)
def test_loss_gradient_and_metrics_are_those_of_whole_rows(microbatches: int, room: int | None, model: Model):
    (expected, loss, sums), (found, own_loss, own_sums) = gradient(None), gradient(GROUPS, microbatches, room, model)
    np.testing.assert_allclose(own_loss, loss, rtol=1e-5)
    norm = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * norm), found, expected)
    assert own_sums.keys() == sums.keys()
    for name, metric in sums.items():
        if not isinstance(metric, Spread):
            np.testing.assert_allclose(own_sums[name], metric, rtol=1e-4, atol=1e-5, err_msg=name)


def test_teacher_and_student_say_of_shared_prompts_what_they_say_of_whole_rows():
    teacher = build_model(replace(three_steps.TEACHER, stacks=(Stack(1),)))
    params, frozen = parameters(), drawn(teacher.shapes, 1, 0.2)
    rows = replace(rollouts(token_mean).rows, room=NEEDED)

    def distilled(groups: ReplyGroups | None) -> tuple[Any, Any, Any]:
        loss_fn = distill_on_policy(teacher, MODEL, divergence=reverse, temperature=0.8, groups=groups)
        return jax.jit(lambda: gradients(loss_fn, params, frozen, rows, 1)[:3])()

    (expected, loss, sums), (found, own_loss, own_sums) = distilled(None), distilled(GROUPS)
    np.testing.assert_allclose(own_loss, loss, rtol=1e-5)
    norm = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * norm), found, expected)
    np.testing.assert_allclose(own_sums["kl"], sums["kl"], rtol=1e-5)


def test_a_prompt_is_computed_once_for_those_of_its_replies_that_are_on_one_device():
    assert computed_places(GROUPS, MODEL, 16, 48) == 4 * 9 + 16 * NEW
    assert computed_places(GROUPS, MODEL, 16, 48, microbatches=8) == 8 * 9 + 16 * NEW
    two = build_model(MODEL.config, build_mesh(MeshShape(), jax.devices()[:2]))
    assert computed_places(GROUPS, two, 4, 48) == 2 * 9 + 4 * NEW
    assert computed_places(None, MODEL, 16, 48) == 16 * 48


def test_rows_stay_whole_where_nothing_is_shared_or_may_be():
    assert GROUPS.layout(MODEL, 16, NEW + 2) is None  # hardly longer than replies
    assert GROUPS.layout(MODEL, 5, 10) is None
    experts = Stack(1, (BlockKind(moe=MoE(experts=2, active=1, mlp_width=8)),))
    assert GROUPS.layout(build_model(replace(three_steps.CONFIG, stacks=(experts,))), 16, 48) is None
    split = build_mesh(MeshShape(context=2), jax.devices()[:2])
    assert GROUPS.layout(build_model(MODEL.config, split), 16, 48) is None


def test_short_replies_get_one_of_few_rooms_in_which_the_longest_group_fits():
    assert NEEDED < NEW
    assert [GROUPS.for_updates(count).rooms for count in (63, 64, 256)] == [(), (0.5,), (0.25, 0.5, 0.75)]
    assert GROUPS.room(MODEL, np.minimum(LENGTHS_B, 5), 16, 48) is None  # not worth a program in so few updates
    groups = GROUPS.for_updates(1000)
    assert groups.room(MODEL, LENGTHS_B, 16, 48) == min((each for each in (6, 12, 18) if each >= NEEDED), default=None)
    assert groups.room(MODEL, np.minimum(LENGTHS_B, 5), 16, 48) == NEW // 4
    one_long = np.array([NEW, 1, 1, 1] + [1] * 12)
    assert groups.room(MODEL, one_long, 16, 48) == 12  # 27 tokens of four replies
    assert groups.room(MODEL, one_long, 2, 48) == 18  # 25 of two
    assert groups.room(MODEL, np.full(16, NEW), 16, 48) is None
    assert groups.room(MODEL, LENGTHS_B, 5, 10) is None
    # Rows that are hardly longer than replies can be: all that short ones leave is saved.
    assert GROUPS.layout(MODEL, 16, NEW + 2) is None
    assert groups.room(MODEL, np.minimum(LENGTHS_B, 5), 16, NEW + 2) == NEW // 4
    assert computed_places(GROUPS, MODEL, 16, 48, room=6) == 4 * 9 + 16 * 6
