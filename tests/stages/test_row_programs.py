"""Stages on packed rows run what they told, step by step."""

from dataclasses import replace

import pytest
from planned import not_run, place_of
from tiny_stages import BASE, DEMONSTRATIONS, LENGTH, MODEL, OPTIMIZER, Surroundings, tune

from reasoning.core.errors import InputError
from reasoning.models.flops import forward_flops
from reasoning.models.lora import LoRA
from reasoning.stages.distill import Distill
from reasoning.stages.pretrain import Pretrain

MESH = Surroundings().context().mesh


def test_fine_tuning_runs_the_programs_that_it_told(base, examples, tmp_path):
    assert not_run(tune(held_out=8, held_out_every=3), tmp_path, {"start": base, "data": examples}) == []


def test_with_adapters_too(base, examples, tmp_path):
    assert not_run(tune(lora=LoRA(2, 4.0)), tmp_path, {"start": base, "data": examples}) == []


def test_calls_are_those_of_all_steps_and_flops_those_of_the_formula():
    programs = {one.name: one for one in tune(steps=12, held_out=8, held_out_every=4).programs(place_of(MESH))}
    assert {name: one.calls for name, one in programs.items()} == {
        "batch": 12, "update": 12, "held out: batch": 3, "held out: loss": 3
    }  # fmt: skip
    assert programs["update"].flops == 3 * forward_flops(MODEL, 8 * LENGTH, LENGTH)
    assert programs["update"].tokens == 8 * LENGTH


def test_a_teacher_is_an_argument_of_the_update_and_lies_beside_the_rest():
    teacher = replace(BASE, name="teacher", model=replace(MODEL, width=32))
    stage = Distill(name="kl", start=BASE, teacher=teacher, data=DEMONSTRATIONS, optimizer=OPTIMIZER, steps=2, batch=8)
    batch, update = stage.programs(place_of(MESH))
    assert set(batch.beside) == {"parameters", "optimizer", "teacher"} and update.beside == {}
    assert update.flops == 3 * forward_flops(MODEL, 256, LENGTH) + forward_flops(teacher.model, 256, LENGTH)


def test_epochs_are_of_as_many_rows_as_are_assumed_which_is_said():
    notes: list[str] = []
    place = place_of(MESH, notes, rows=80)
    place = replace(place, note=notes.append)
    assert tune(steps=0, epochs=2.0).programs(place)[1].calls == 20
    assert any("taken to have 80 rows" in note for note in notes)


def test_rows_that_can_not_be_shared_out_are_refused_before_anything_is_compiled():
    with pytest.raises(InputError, match="stage base: 8 rows can't be shared evenly by 3"):
        Pretrain(name="base", model=MODEL, data=BASE.data, optimizer=OPTIMIZER, steps=1, batch=8).programs(
            place_of(Surroundings(devices=3).context().mesh)
        )
