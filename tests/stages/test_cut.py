"""A student of some layers is a checkpoint like any other: with tokenizer, sharded as the mesh says."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_stages
from tiny_stages import BASE, MODEL, Surroundings, untrained, work

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.models.config import Stack
from reasoning.models.cut import cut_params
from reasoning.models.model import build_model, parameter_count
from reasoning.stages import Cut
from reasoning.stages.checkpoint import model_of, params_of, tokenizer_of

DEEP = replace(BASE, model=replace(MODEL, stacks=(replace(MODEL.stacks[0], count=3),)), steps=1)
STUDENT = Cut(name="student", start=DEEP, layers=(0, 2))


@pytest.fixture(scope="module")
def teacher(corpus: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return untrained(tmp_path_factory.mktemp("teacher"), "base", DEEP.model, corpus)


def test_the_student_holds_the_teachers_layers_and_its_tokenizer(teacher: Artifact, tmp_path: Path):
    student = work(STUDENT, tmp_path, {"start": teacher})
    mesh = Surroundings().context().mesh
    whole, model = model_of(teacher, mesh), model_of(student, mesh)
    assert model.config.stacks == (Stack(2, MODEL.stacks[0].pattern),)
    expected = cut_params(whole.config, params_of(teacher, whole, mesh), (0, 2))
    jax.tree.map(np.testing.assert_array_equal, params_of(student, model, mesh), expected)
    assert tokenizer_of(student).model == tokenizer_of(teacher).model


def test_on_several_devices_the_student_is_the_same(teacher: Artifact, tmp_path: Path):
    one, several = (work(STUDENT, tmp_path / str(n), {"start": teacher}, Surroundings(devices=n)) for n in (1, 4))
    assert one.hash == several.hash


def test_the_plan_counts_parameters_without_a_teacher():
    expected = parameter_count(build_model(replace(DEEP.model, stacks=(Stack(2, MODEL.stacks[0].pattern),))))
    assert STUDENT.plan() == {"parameters": expected}
    again = Cut(name="again", start=replace(tiny_stages.tune(), start=STUDENT), layers=(1,))
    assert 0 < again.plan()["parameters"] < expected
    with pytest.raises(InputError, match="stage again: layer 2 isn't one of the model's 2"):
        replace(again, layers=(2,)).plan()


def test_layers_that_the_teacher_has_not_are_refused_by_the_stages_name(teacher: Artifact, tmp_path: Path):
    wrong = replace(STUDENT, layers=(0, 3))
    with pytest.raises(InputError, match="stage student: layer 3 isn't one of the model's 3"):
        work(wrong, tmp_path, {"start": teacher})
    with pytest.raises(InputError, match="stage student: layer 3"):
        wrong.plan()
