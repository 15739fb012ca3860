"""What a stage is planned from: the model before it, what stays on devices, and exams on the way."""

import pytest
from planned import place_of
from tiny_stages import BASE, MODEL, NEW_TOKENS, Surroundings, examine, quiz, reinforce, tune

from reasoning.core.errors import InputError
from reasoning.core.program import device_bytes
from reasoning.models.lora import LoRA
from reasoning.models.model import build_model, parameter_count
from reasoning.stages.collect import Collect
from reasoning.stages.pretrained import Pretrained
from reasoning.stages.programs import COLUMNS, learned_of, model_before, row_shapes, trained_model
from reasoning.training.losses import supervised

MESH = Surroundings(devices=2).context().mesh


def test_a_model_that_is_not_there_yet_is_what_its_stage_says_it_is():
    absent = Pretrained(name="absent", path="no/such/model", model=MODEL, remat="block")
    model = model_before(absent, place_of(MESH), "zero")
    assert model.config.remat == "block" and parameter_count(model) == parameter_count(build_model(MODEL))


def test_what_settings_do_not_tell_is_refused():
    with pytest.raises(InputError, match="stage zero: which model stage corpus leaves can't be told"):
        model_before(BASE.data, place_of(MESH), "zero")


def test_adam_keeps_two_moments_beside_parameters_and_adapters_a_base():
    for stage, names in ((tune(), {"parameters", "optimizer"}), (tune(lora=LoRA(2, 4.0)), {"base"})):
        place = place_of(MESH)
        model = trained_model(stage, place)
        learned = learned_of(stage, place, model, supervised(model), 4)
        held = learned.around()
        assert names <= set(held)
        assert device_bytes(held["optimizer"]) == pytest.approx(2 * device_bytes(held["parameters"]), abs=64)


def test_rows_are_split_over_data_parallel_devices():
    rows = row_shapes(MESH, 8, 32)
    assert tuple(rows) == tuple(COLUMNS) and rows["tokens"].sharding.shard_shape((8, 32)) == (4, 32)


def test_a_probe_publishes_and_samples_every_so_many_steps():
    stage = reinforce(steps=5, probe=quiz(), probe_every=2)
    programs = {one.name: one for one in stage.programs(place_of(MESH))}
    assert programs["probe: sample"].calls == programs["probe: publish"].calls == 3
    assert programs["probe: sample"].tokens == 4 * 4 * NEW_TOKENS


def test_an_exam_asks_each_checkpoint_by_each_method_that_samples():
    names = [one.name for one in examine(BASE, tune()).programs(place_of(MESH))]
    assert names == [f"{whose}, {name}" for whose in ("base", "sft") for name in ("publish", "greedy", "samples")]


def test_collecting_asks_all_problems_batch_by_batch():
    stage = reinforce()
    collect = Collect(
        name="more", start=BASE, problems=stage.problems, keep=stage.rewards, max_new_tokens=4, samples=2, batch=3
    )
    publish, sample = collect.programs(place_of(MESH))
    assert (publish.name, publish.calls, sample.name, sample.calls) == ("publish", 1, "sample", 3)
    assert sample.beside == {} and sample.tokens == 3 * 2 * 4
