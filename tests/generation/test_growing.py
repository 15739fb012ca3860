"""Beginnings that grow by steps from the caches of the ones they continue are what is read and written at once."""

import jax
import numpy as np

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.generation.engine import build_engine
from reasoning.generation.growing import NEW, Turn, build_growing
from reasoning.generation.sampler import SamplerSettings
from reasoning.models.config import ModelConfig, Stack
from reasoning.models.model import build_model, init_sharded

PROMPTS = [[1, 2, 4], [4, 2], [2, 1, 4, 4, 2] * 8]
"""The last is read in two pieces."""


def test_three_greedy_steps_of_three_tokens_are_nine_tokens_in_a_row_whatever_rows_beginnings_move_to():
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    config = ModelConfig(vocabulary=9, width=16, heads=2, mlp_width=32, stacks=(Stack(2),), context=64, head_scale=5.0)
    model = build_model(config, mesh)
    whole = build_engine(model, mesh, SamplerSettings(1, 9, (99,), longest_prompt=40))
    weights, key = whole.publish(init_sharded(model, mesh, jax.random.key(2))), jax.random.key(0)
    greedy = whole.generate(weights, PROMPTS, range(3), key, 0.0)
    growing = build_growing(model, mesh, SamplerSettings(2, 3, (99,), slots=4, longest_prompt=40), 4, 40 + 8)
    assert (growing.parts, growing.rows_of_part) == (1, 4)
    state, written, places = growing.start(key), [[], [], []], [NEW, NEW, NEW]
    for turn in range(3):
        order = np.roll(np.arange(3), turn)
        parents = [places[prompt] for prompt in order]
        behind = [written[prompt][-3:] or PROMPTS[prompt] for prompt in order]
        asked = Turn([*parents, NEW], [*behind, []], [0, 1, 2, 3])
        state, steps = growing.go_on(weights, state, asked, key, 0.0, None)
        for row, prompt in enumerate(order):
            np.testing.assert_array_equal(steps.tokens[row, 0], steps.tokens[row, 1])
            written[prompt] += steps.tokens[row, 0].tolist()
            places[prompt] = row
        assert not steps.lengths[3].any()
    assert written == greedy.tokens[:, 0].tolist()
