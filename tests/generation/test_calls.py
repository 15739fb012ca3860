"""An engine is planned with its own program and the turns that its loops really take."""

from dataclasses import replace

import jax
import numpy as np
from tiny_stages import MODEL, Surroundings

from reasoning.generation.calls import loop_trips, sampling_call, weight_shapes
from reasoning.generation.engine import build_engine, sampling_program, sizes_of
from reasoning.generation.reading import READ_AT_ONCE
from reasoning.generation.sampler import SamplerSettings, common_settings
from reasoning.models.model import build_model

MESH = Surroundings(devices=2).context().mesh
SETTINGS = SamplerSettings(samples=3, max_new_tokens=5, end_ids=(79,), slots=4, longest_prompt=11)


def test_the_program_is_the_engines_own():
    model = build_model(MODEL, MESH)
    function, arguments = sampling_call(model, MESH, SETTINGS, 8, 16)
    sizes = sizes_of(SETTINGS, MESH, 8, 16)
    assert function is sampling_program(model, MESH, common_settings(SETTINGS), sizes).sample
    assert jax.tree.structure(arguments[0]) == jax.tree.structure(weight_shapes(model, MESH))


def test_few_questions_with_many_samples_and_many_with_few_share_one_program():
    asked = [(16, 16), (2, 128), (4, 512), (1, 512)]
    sizes = {sizes_of(replace(SETTINGS, slots=0, samples=each), MESH, prompts, 16) for each, prompts in asked}
    assert {(size.slots, size.prompts) for size in sizes} == {(64, 64)} and len(sizes) == 1


def test_the_engine_runs_the_planned_program_and_no_other():
    model = build_model(MODEL, MESH)
    function, _ = sampling_call(model, MESH, SETTINGS, 8, 16)
    before = function._cache_size()
    engine, prompts = build_engine(model, MESH, SETTINGS), [[1 + number] * 11 for number in range(8)]
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), model.shapes)
    engine.generate(engine.publish(params), prompts, range(8), jax.random.key(0), 1.0)
    assert function._cache_size() == before + 1


def test_long_prompts_are_read_piece_by_piece():
    assert loop_trips(SETTINGS, MESH, 8, 2 * READ_AT_ONCE + 1)["pieces"] == 3


def test_loops_turn_as_often_as_the_fullest_device_needs():
    # 8 prompts on 2 devices are 4 each, read at once; 12 replies there in 4 slots are 3 rounds of 5 tokens.
    assert loop_trips(SETTINGS, MESH, 8, 6) == {"reading": 1, "pieces": 1, "writing": 15, "finishing": 0}
