"""What a model says of the tokens of rows, whole ones and replies that are read together with their prompt.

Shapes: B rows, T time.
"""

from dataclasses import replace
from typing import Any
from unittest import mock

import jax
import numpy as np
import pytest
from policy_batches import GROUP, MODEL, NEW, off_policy, parameters, rollouts

from reasoning.objectives.aggregation import token_mean
from reasoning.objectives.kl import k3
from reasoning.objectives.policy import CISPO, Clipped
from reasoning.training import token_scores
from reasoning.training.losses import policy
from reasoning.training.shared_prompts import ReplyGroups
from reasoning.training.token_scores import score


def test_scores_of_replies_that_are_read_together_are_those_of_whole_rows_and_0_elsewhere():
    params = parameters()
    rows = rollouts(token_mean).rows
    whole = jax.jit(lambda params: score(MODEL, params, rows, 0.7))(params)
    together = jax.jit(lambda params: score(MODEL, params, rows, 0.7, groups=ReplyGroups(GROUP, 9, NEW)))(params)
    inside_BT = np.asarray(rows.mask) > 0
    for expected, found in zip(whole, together, strict=True):
        np.testing.assert_allclose(found[inside_BT], expected[inside_BT], atol=1e-5)
    assert rows.replies is not None
    before_BT = np.roll(rows.replies, -1, axis=1).cumsum(axis=1) == 0
    assert before_BT.any() and not np.asarray(together.log_prob_BT)[before_BT].any()


@pytest.mark.parametrize(("loss", "on_policy"), [(Clipped(0.1, 0.1), True), (CISPO(), False)], ids=["own", "others"])
def test_a_policy_loss_in_one_pass_of_the_head_is_that_of_two_with_its_gradient_and_metrics(loss: Any, on_policy: bool):
    """Of its own replies, with prompts read once, and of others' with a reference."""
    params: Any = parameters()
    if on_policy:
        batch, groups = rollouts(token_mean), ReplyGroups(GROUP, 9, NEW)
        batch = replace(batch, rows=replace(batch.rows, room=16))
    else:
        batch, groups = off_policy(params, token_mean, 0.7)[0], None
    loss_fn = policy(MODEL, loss=loss, kl=k3, kl_coefficient=0.04, temperature=0.7, groups=groups)

    def passes() -> tuple[Any, int]:
        def total(params: Any) -> Any:
            return loss_fn(params, {}, batch)[:2]

        lowered = jax.jit(jax.value_and_grad(total, has_aux=True)).lower(params)
        return lowered.compile()(params), lowered.as_text().count("dot_general")

    found, products = passes()
    with mock.patch.object(token_scores, "is_by_token", lambda *_: False):
        expected, more = passes()
    assert products < more
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * max(1.0, float(np.abs(other).max())))
