import re
from pathlib import Path

import pytest

from reasoning.core.errors import InputError
from reasoning.experiment.reader import read_experiment
from reasoning.pipeline.sweeps.arms import arm_title, expand_sweep
from tests.support.small_sweep import SweepProject


@pytest.fixture
def project(tmp_path):
    return SweepProject(tmp_path)


def arms(plan):
    return {arm.label: arm.settings for arm in plan.arms}


def part(plan, label, name):
    return next(arm for arm in plan.arms if arm.label == label).runs[0].experiment.part(name)


def test_a_grid_is_all_combinations_the_last_key_fastest(project):
    plan = project.plan("sweep.grid = {'zero.rate': (0.1, 0.2), 'width': (1, 2)}")
    assert [arm_title(arm) for arm in plan.arms] == [
        "zero.rate=0.1, width=1",
        "zero.rate=0.1, width=2",
        "zero.rate=0.2, width=1",
        "zero.rate=0.2, width=2",
    ]
    found = part(plan, "zero.rate=0.2,width=2", "zero")
    assert (found.rate, found.width, part(plan, "zero.rate=0.2,width=2", "exam").width) == (0.2, 2, 2)


def test_a_zip_takes_values_that_go_together(project):
    plan = project.plan("sweep.zip = {'zero.rate': (0.1, 0.2, 0.3), 'zero.width': (3, 2, 1)}")
    found = [(arm.runs[0].experiment.part("zero").rate, arm.runs[0].experiment.part("zero").width) for arm in plan.arms]
    assert found == [(0.1, 3), (0.2, 2), (0.3, 1)]


def test_each_is_the_baseline_and_one_change_at_a_time_and_values_equal_to_the_files_own_are_the_baseline(project):
    plan = project.plan("sweep.each = {'zero.rate': (0.5, 0.9), 'width': (2, 1)}")
    assert arms(plan) == {
        "baseline": ("zero.rate=0.5", "width=1"),
        "zero.rate=0.9": ("zero.rate=0.9",),
        "width=2": ("width=2",),
    }
    assert arm_title(plan.arms[0]) == "baseline (zero.rate=0.5, width=1)"
    assert part(plan, "width=2", "zero").rate == 0.5


def test_overrides_apply_to_all_arms_and_to_the_baseline(project):
    plan = project.plan("sweep.each = {'width': (2,)}", overrides=("zero.rate=0.7", "run.seed=3", "sweep.seeds=2"))
    assert [run.experiment.part("zero").rate for run in plan.runs] == [0.7] * 4
    assert plan.seeds == (3, 4) and [run.run.seed for run in plan.runs] == [3, 3, 4, 4]


def test_without_anything_that_varies_there_is_one_arm_with_several_seeds(project):
    plan = project.plan("sweep.seeds = 3")
    assert arms(plan) == {"baseline": ()} and plan.seeds == (0, 1, 2)


def test_all_arms_have_the_first_seed_before_any_has_the_second(project):
    plan = project.plan("sweep.each = {'width': (2,)}\nsweep.seeds = 2")
    assert [(run.arm, run.seed) for run in plan.runs] == [
        ("baseline", 0),
        ("width=2", 0),
        ("baseline", 1),
        ("width=2", 1),
    ]


def test_values_may_be_parts_functions_texts_and_groups_and_labels_are_safe_names(project):
    plan = project.plan(
        f"sweep.each = {{'exam.start': (base,), 'zero.reward': (@{project.module}.reward, None),"
        "'zero.weights': ((1.0, 2.0),)}"
    )
    assert part(plan, "exam.start=base", "exam").start is part(plan, "exam.start=base", "base")
    assert part(plan, f"zero.reward={project.module}.reward", "zero").reward("x") == 1.0
    assert part(plan, "zero.weights=1.0_2.0", "zero").weights == (1.0, 2.0)
    assert plan.arms[0].settings == ("zero.reward=None",)


def test_labels_stay_apart_where_characters_or_length_or_case_would_make_them_one(project):
    texts = ("'a/b'", "'a b'", "'x y'", "'X_Y'", "'x_y'", f"'{'long' * 60}'", "'../..'")
    labels = [arm.label for arm in project.plan(f"sweep.each = {{'zero.reward': ({', '.join(texts)})}}").arms]
    assert len({label.lower() for label in labels}) == len(texts) + 1
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.=,+-]{0,120}", label) and "/" not in label for label in labels)


@pytest.mark.parametrize(
    ("sweep", "complaint", "marked"),
    [
        ("sweep.each = {'zero.raet': (0.5,)}", "no field 'raet'; did you mean 'rate'", "raet"),
        ("sweep.each = {'zeor.rate': (0.5,)}", "no part 'zeor'; did you mean 'zero'", "zeor"),
        ("sweep.each = {'widht': (2,)}", "no constant 'widht'; did you mean 'width'", "widht"),
        ("sweep.each = {'zero.rate': (0.1, 'x')}", "zero.rate must be a number", "'x'"),
        ("sweep.grid = {'zero.rate': (0.1,), 'zero.width': (1, 2.5)}", "zero.width must be a whole number", "2.5"),
        ("sweep.each = {'zero.rate': (0.1)}", "must be a tuple", "0.1"),
        ("sweep.each = {'run.seed': (1,)}", "the seed is varied by sweep.seeds", "run"),
        ("sweep.each = {'sweep.seeds': (1,)}", "a sweep can't vary itself", "sweep"),
        ("sweep.grid = {'zero.rate': (0.1, 0.10)}", "are the same experiment", "0.10"),
        ("sweep.each = {'zero.rate': (0.1, 0.10)}", "are the same experiment", "0.10"),
        ("sweep.each = {'exam.start': (exam,)}", "in a circle", "exam"),
        ("sweep.scores = ('zero/loss', 'zeor/loss')", "no stage 'zeor'; did you mean 'zero'", "'zeor/loss'"),
        ("sweep.scores = ('zero',)", "names no result", "'zero'"),
        ("sweep.scores = 'zero/loss'", "must be a tuple", "'zero/loss'"),
        ("sweep.seeds = 0", "must be at least 1", "0"),
    ],
)
def test_what_is_wrong_is_told_with_line_and_caret_before_anything_runs(project, sweep, complaint, marked):
    with pytest.raises(InputError) as caught:
        project.plan(sweep)
    lines = str(caught.value).split("\n")
    assert complaint in lines[0]
    number = project.file.read_text().splitlines().index(sweep) + 1
    shown_lines = [
        (source, caret) for source, caret in zip(lines, lines[1:], strict=False) if f"sweep.gin:{number}: " in source
    ]
    assert marked in [source[caret.index("^") :][: caret.count("^")] for source, caret in shown_lines]
    assert not project.out.exists()


def test_an_error_that_the_files_own_part_raises_names_the_arm(project):
    with pytest.raises(InputError, match="two different stages are named 'base'[^\n]*\n  in the arm zero.name='base'"):
        project.plan("sweep.each = {'zero.name': ('base',)}")


def test_arms_that_need_other_numbers_of_devices_are_refused(project):
    with pytest.raises(InputError, match=r"differ in run\.cpu_devices \(3, "):
        project.plan("sweep.each = {'run.cpu_devices': (3,)}")


def test_an_override_of_what_every_arm_sets_is_refused(project):
    with pytest.raises(InputError, match=r"changes nothing; override sweep\.grid"):
        project.plan("sweep.grid = {'zero.rate': (0.1, 0.2)}", overrides=("zero.rate=0.3",))


def test_a_checkpoint_that_the_evaluation_does_not_examine_is_refused(tmp_path):
    file = tmp_path / "a.gin"
    example = Path(__file__).resolve().parents[3] / "experiments" / "r1_miniature.gin"
    file.write_text(f"include '{example}'\nsweep = @pipeline.Sweep\nsweep.scores = ('exam/zreo/length',)\n")
    with pytest.raises(InputError, match="exam doesn't examine 'zreo'; did you mean 'zero'"):
        expand_sweep(read_experiment(file))


def test_a_file_without_a_sweep_is_told_the_line_that_it_lacks(project):
    text = project.file.read_text()
    project.file.write_text(text.replace("sweep = @pipeline.Sweep\n", ""))
    with pytest.raises(InputError, match="defines no sweep; add the line: sweep = @pipeline.Sweep"):
        expand_sweep(read_experiment(project.file))
    project.file.write_text(text.replace("sweep = @pipeline.Sweep\n", "sweep = base\n"))
    with pytest.raises(InputError, match=r"sweep\.gin:\d+: 'sweep' must be a @pipeline\.Sweep"):
        expand_sweep(read_experiment(project.file))
