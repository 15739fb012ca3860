"""What a reward model reads and costs; what it scores is in tests of the stages that leave one."""

import jax
import numpy as np
import three_steps

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.evaluation.reward_scorer import NO_MARK, RewardScorer
from reasoning.models.flops import forward_flops
from reasoning.models.heads import Head, with_head
from reasoning.models.model import build_model


def test_marks_are_read_too_and_the_head_stands_in_the_unembedding_s_place():
    model, mesh = with_head(build_model(three_steps.CONFIG), Head()), build_mesh(MeshShape(), jax.devices()[:1])
    asked = ([[5, 6]], [[7, 8, 9]], [[0, 2]])
    for mark, tokens in ((NO_MARK, 5), (3, 7)):
        cost = RewardScorer(model, Head(), mesh, {}, 4, "=", mark).cost(*asked)
        config = three_steps.CONFIG
        without = forward_flops(config, tokens, tokens) - 2 * tokens * config.width * config.vocabulary
        assert cost.tokens_R.tolist() == [tokens]
        np.testing.assert_array_equal(cost.flops_R, [without + 2 * tokens * config.width])
