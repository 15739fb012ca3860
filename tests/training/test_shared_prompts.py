"""Replies to one prompt that are read together: the losses and gradients of whole rows, by fewer tokens.

Shapes: B rows, T time.
"""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
import three_steps
from policy_batches import GROUP, MODEL, NEW, off_policy

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.config import BlockKind, MoE, Stack
from reasoning.models.model import build_model
from reasoning.objectives.aggregation import token_mean
from reasoning.objectives.kl import k3
from reasoning.objectives.policy import GSPO
from reasoning.training.losses import policy
from reasoning.training.shared_prompts import ReplyGroups, computed_places
from reasoning.training.step import Spread, gradients

GROUPS = ReplyGroups(GROUP, 9, NEW)  # prompts of 3 to 9 tokens


def gradient(groups: ReplyGroups | None, microbatches: int = 1) -> tuple[Any, Any, Any]:
    """Gradient, loss and metrics off-policy, with a loss that reads whole rows and a KL term."""
    params: Any = jax.jit(MODEL.init)(jax.random.key(0))
    batch, _ = off_policy(params, token_mean, 1.0)
    loss_fn = policy(MODEL, loss=GSPO(0.01, 0.01), kl=k3, kl_coefficient=0.04, temperature=0.8, groups=groups)
    return jax.jit(lambda: gradients(loss_fn, params, {}, batch, microbatches)[:3])()


@pytest.mark.parametrize("microbatches", [1, 2])
def test_loss_gradient_and_metrics_are_those_of_whole_rows(microbatches: int):
    (expected, loss, sums), (found, own_loss, own_sums) = gradient(None), gradient(GROUPS, microbatches)
    np.testing.assert_allclose(own_loss, loss, rtol=1e-5)
    norm = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * norm), found, expected)
    assert own_sums.keys() == sums.keys()
    for name, metric in sums.items():
        if not isinstance(metric, Spread):
            np.testing.assert_allclose(own_sums[name], metric, rtol=1e-4, atol=1e-5, err_msg=name)


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
