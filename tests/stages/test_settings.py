"""Settings that learning stages share: spelled once, in records that extend each other, refused by line of a file."""

import ast
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import jax
import pytest
from tiny_stages import BASE, HALVES, REFUSED, early_end, quiz, reinforce, tune

import reasoning
from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.experiment.describe import is_hashed
from reasoning.experiment.reader import read_experiment
from reasoning.rewards.numbers import number
from reasoning.stages import GRPO, SFT, Distill, OnPolicyDistill, Pretrain
from reasoning.stages.settings import FineTuning, KeepBest, Learning, OnPolicy, steps_of

PACKAGE = Path(reasoning.__file__).parent
LEARNING = (Pretrain, SFT, GRPO, Distill, OnPolicyDistill)


def spellings(name: str) -> int:
    """How often the package writes a name: fields, arguments, attributes and keywords."""
    nodes = [node for path in PACKAGE.rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    attributes = {id(node.value) for node in nodes if isinstance(node, ast.keyword)}
    written = 0
    for node in nodes:
        written += isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name
        written += isinstance(node, ast.arg | ast.keyword) and node.arg == name
        written += isinstance(node, ast.Attribute) and node.attr == name and id(node) not in attributes
    return written


@pytest.mark.parametrize("setting", ["skips_allowed", "microbatches", "lora"])
def test_a_setting_of_the_loop_is_a_field_of_one_record_of_settings(setting: str):
    owners = [stage for stage in (Learning, FineTuning, OnPolicy, *LEARNING) if setting in stage.__annotations__]
    assert owners == [FineTuning if setting == "lora" else Learning]


def test_a_setting_of_the_loop_is_spelled_in_four_places_at_most():
    assert spellings("skips_allowed") <= 4


def test_every_stage_that_learns_has_the_settings_of_the_loop_and_says_what_it_learns_from():
    assert all(issubclass(stage, Learning) for stage in LEARNING)
    assert all(issubclass(stage, FineTuning) for stage in LEARNING if stage is not Pretrain)
    assert issubclass(GRPO, OnPolicy) and issubclass(OnPolicyDistill, OnPolicy)
    assert [stage.learns_from for stage in LEARNING] == ["text", "examples", "rewards", "teacher", "teacher"]


def test_what_can_not_change_a_result_is_no_part_of_a_hash():
    unhashed = {field.name for stage in LEARNING for field in fields(stage) if not is_hashed(field)}
    assert unhashed == {"skips_allowed", "probe", "probe_every", "rollouts_every", "held_out_every"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("zero.microbatch = 2", "has no field 'microbatch'; did you mean 'microbatches'"),
        ("zero.microbatches = 0", "at least 1"),
        ("zero.temperature = 0.0", "above 0"),
    ],
)
def test_an_inherited_setting_is_checked_where_the_file_writes_it(tmp_path: Path, line: str, message: str):
    file = tmp_path / "a.gin"
    file.write_text(f"zero = @stages.GRPO\n{line}\nrun = @pipeline.Run\n")
    with pytest.raises(InputError) as refused:
        read_experiment(file)
    assert f"{file}:2" in str(refused.value) and message in str(refused.value) and "^" in str(refused.value)


@pytest.mark.parametrize("given", [{"steps": 0}, {"steps": 4, "epochs": 2.0}])
def test_steps_or_epochs_are_given_and_not_both(given: dict[str, Any]):
    for stage in (replace(BASE, **given), tune(**given), reinforce(**given)):
        with pytest.raises(InputError, match=rf"stage {stage.name} has (both|neither) .*{stage.name}.epochs"):
            stage.check(build_mesh(MeshShape(), jax.devices()[:1]))


def test_epochs_of_a_stage_that_samples_are_steps_by_the_number_of_problems():
    assert steps_of(reinforce(steps=0, epochs=1.1), 50, 1) == 55
    assert reinforce(steps=0, epochs=1.5).plan()["steps"] == 3  # 8 problems, 4 a step


def test_an_exam_of_problems_that_its_scores_can_not_judge_is_refused_before_any_work():
    mesh, exam = build_mesh(MeshShape(), jax.devices()[:1]), quiz(problems=HALVES, scores=(number,))
    for stage in (tune(), reinforce()):
        replace(stage, probe=exam).check(mesh)  # it is never asked
        for watched in ({"probe": exam, "probe_every": 2}, {"best": KeepBest(exam=exam, score=number, every=2)}):
            with pytest.raises(InputError, match=REFUSED):
                replace(stage, **watched).check(mesh)


@pytest.mark.parametrize("given", [{"steps": 2**31}, {"epochs": 1e300}, {"epochs": float("inf")}])
def test_more_steps_than_are_counted_are_refused(given: dict[str, Any]):
    for stage in (tune(**{"steps": 0, **given}), reinforce(**{"steps": 0, **given})):
        with pytest.raises(InputError, match=rf"{stage.name}: (steps|epochs) = .* is too long; .*2,147,483,647 steps"):
            stage.check(build_mesh(MeshShape(), jax.devices()[:1]))
    assert steps_of(tune(steps=2**31 - 1), 1, 1) == 2**31 - 1


def test_the_best_by_a_score_that_its_exam_does_not_give_is_refused():
    with pytest.raises(InputError, match="score is early_end, which .* name one of strict, lenient"):
        KeepBest(exam=quiz(), score=early_end, every=2)
    with pytest.raises(InputError, match="no score of it.* name as score one of strict, lenient"):
        KeepBest(exam=quiz(), every=2)
    with pytest.raises(InputError, match="score is early_end, and there is no exam"):
        KeepBest(score=early_end, every=2)


def test_the_best_by_the_loss_of_rows_that_nobody_holds_out_is_refused():
    mesh, best = build_mesh(MeshShape(), jax.devices()[:1]), KeepBest(every=2)
    for stage in (tune(best=best), reinforce(best=best)):
        with pytest.raises(InputError, match=rf"stage {stage.name}: its best has no exam, .*no rows are held out"):
            stage.check(mesh)
    tune(best=best, held_out=1).check(mesh)
