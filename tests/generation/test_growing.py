"""Beginnings that grow by steps from the caches of the ones they continue are what is read and written at once."""

from dataclasses import replace

import jax
import numpy as np
from drawn import placed

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.generation.engine import build_engine
from reasoning.generation.growing import NEW, Turn, build_growing
from reasoning.generation.sampler import SamplerSettings
from reasoning.models.config import ModelConfig, Stack
from reasoning.models.model import build_model

PROMPTS = [[1, 2, 4], [4, 2], [2, 1, 4, 4, 2] * 8]
"""The last is read in two pieces."""
CONFIG = ModelConfig(vocabulary=9, width=16, heads=2, mlp_width=32, stacks=(Stack(2),), context=64, head_scale=5.0)


def test_three_greedy_steps_of_three_tokens_are_nine_tokens_in_a_row_whatever_rows_beginnings_move_to():
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    model = build_model(CONFIG, mesh)
    whole = build_engine(model, mesh, SamplerSettings(1, 9, (99,), longest_prompt=40))
    weights, key = whole.publish(placed(model, mesh, 2, 0.5)), jax.random.key(0)
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


def test_beginnings_that_are_the_same_text_are_read_once_and_go_on_each_by_its_own_stream():
    mesh, read = build_mesh(MeshShape(), jax.devices()[:1]), []
    model = build_model(CONFIG, mesh)

    def counted(weights, tokens, lengths, cache):
        jax.debug.callback(lambda lengths: read.append(int(lengths.sum())), lengths)
        return model.prefill(weights, tokens, lengths, cache)

    settings = SamplerSettings(2, 3, (99,), slots=4, longest_prompt=40)
    growing = build_growing(replace(model, prefill=counted), mesh, settings, 4, 40 + 8)
    alone = build_growing(model, mesh, settings, 4, 40 + 8)
    params = placed(model, mesh, 2, 0.5)
    weights, key = build_engine(model, mesh, settings).publish(params), jax.random.key(0)
    first = Turn([NEW] * 4, [PROMPTS[2], PROMPTS[0], PROMPTS[2], PROMPTS[2]], [4, 5, 6, 7])
    state, steps = growing.go_on(weights, growing.start(key), first, key, 1.0, None)
    jax.effects_barrier()
    assert sum(read) == len(PROMPTS[2]) + len(PROMPTS[0])
    # From each row's cache the next step goes on as it does where that beginning was alone.
    behind = [steps.tokens[row, 0].tolist() for row in range(4)]
    _, later = growing.go_on(weights, state, Turn([0, 1, 2, 3], behind, [8, 9, 10, 11]), key, 1.0, None)
    for row in range(4):
        of_one = Turn([NEW] * 4, [first.behind[row], [], [], []], [first.ids[row], 0, 0, 0])
        state, found = alone.go_on(weights, alone.start(key), of_one, key, 1.0, None)
        np.testing.assert_array_equal(found.tokens[0], steps.tokens[row])
        _, found = alone.go_on(
            weights, state, Turn([0, NEW, NEW, NEW], [behind[row], [], [], []], [row + 8, 0, 0, 0]), key, 1.0, None
        )
        np.testing.assert_array_equal(found.tokens[0], later.tokens[row])
    assert len({tuple(steps.tokens[row].ravel()) for row in (0, 2, 3)}) == 3
