import contextlib
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from reasoning.core.errors import InputError
from reasoning.core.files import read_json
from reasoning.core.statistics import together
from reasoning.evaluation.results import Results, Score, write_results
from reasoning.experiment.reader import read_experiment
from reasoning.findings.sweep_numbers import arm_score, collect, has_spread
from reasoning.pipeline.run import Watcher
from reasoning.pipeline.sweeps.run_sweep import run_sweep
from tests.support.small_sweep import SweepProject

PARTS = (("cups", 0.25), ("direct", 0.5))
EACH = "sweep.each = {'zero.rate': (0.9,), 'zero.inert': (1,), 'base.width': (2,)}\n"


@contextlib.contextmanager
def silent():
    yield Watcher(lambda progress: None, lambda text: None, lambda text: None)


@pytest.fixture
def project(tmp_path):
    return SweepProject(tmp_path)


def sweep(project, lines, *overrides):
    project.write(lines)
    return run_sweep(read_experiment(project.file, overrides), project.out, silent, lambda folder: None)


def test_means_and_paired_differences_are_scipys(project):
    numbers = collect(sweep(project, EACH + "sweep.scores = ('zero/loss', 'base/loss')\n"))
    base = numbers.arms[0].scores["zero/loss"]
    arm = next(row for row in numbers.arms if row.label == "zero.rate=0.9").scores["zero/loss"]
    first, second = (np.array([cell.values[seed] for seed in range(5)]) for cell in (arm, base))
    low, high = stats.t.interval(0.95, 4, loc=first.mean(), scale=stats.sem(first))
    assert arm.mean is not None and (arm.mean.low, arm.mean.high) == pytest.approx((low, high), rel=1e-12)
    paired = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert arm.difference is not None and arm.difference.count == 5
    assert (arm.difference.low, arm.difference.high) == pytest.approx((paired.low, paired.high), rel=1e-10)
    assert base.difference is None and base.verdict == ""


# Differences of five seeds and what Student's t with 4 degrees of freedom (2.776) says about them by hand.
@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ((1.0, 2.0, 3.0, 4.0, 5.0), "higher"),  # 3 ± 2.776 x 1.5811 / 2.2361 = 3 ± 1.963
        ((-1.0, -2.0, -3.0, -4.0, -5.0), "lower"),
        ((-1.0, 0.0, 1.0, 2.0, 3.0), "can't tell"),  # 1 ± 1.963
        ((0.0, 0.0, 0.0, 0.0, 0.0), "the same"),
        ((0.1, 0.1, 0.1, 0.1, 0.1), "can't tell"),  # no spread, so nothing to take an interval from
    ],
)
def test_a_verdict_is_given_only_where_the_interval_leaves_out_0(differences, verdict):
    baseline = {seed: 0.3 * seed for seed in range(5)}
    cell = arm_score({seed: baseline[seed] + difference for seed, difference in enumerate(differences)}, baseline)
    assert cell.verdict == verdict


def test_the_differences_of_a_sweep_are_claimed_together(project):
    numbers = collect(sweep(project, EACH + "sweep.scores = ('zero/loss', 'base/loss')\n"))
    baseline = numbers.arms[0].scores
    each = [(score, baseline[name]) for arm in numbers.arms[1:] for name, score in arm.scores.items()]
    found = [(score, arm_score(score.values, base.values)) for score, base in each]
    told = [(score, alone) for score, alone in found if alone.verdict in ("higher", "lower", "can't tell")]
    alone = [one.difference for _, one in told]
    # Those without spread count, but are no evidence.
    alone = [one if has_spread(one) else replace(one, p_value=1.0) for one in alone]
    assert len(told) > 1 and [score.difference for score, _ in told] == list(together(alone))
    assert all(score.verdict == alone.verdict for score, alone in found if alone.verdict in ("the same", ""))


def test_two_arms_are_compared_over_the_seeds_that_both_have(project):
    cell = arm_score({0: 1.0, 2: 3.0, 3: 9.0}, {0: 0.5, 1: 7.0, 2: 2.0})
    assert cell.mean is not None and cell.mean.count == 3
    assert cell.difference is not None and (cell.difference.mean, cell.difference.count) == (0.75, 2)
    assert arm_score({0: 1.0}, {1: 1.0}).difference is None and arm_score({}, {0: 1.0}).mean is None


def test_one_seed_has_no_interval():
    cell = arm_score({0: 1.0}, {0: 0.5})
    assert cell.verdict == "one seed" and cell.difference is not None and cell.difference.low == -np.inf


def test_a_setting_that_changes_no_weight_is_told(project):
    numbers = collect(sweep(project, EACH + "sweep.seeds = 2\n"))
    assert {row.label: row.inert for row in numbers.arms} == {
        "baseline": False,
        "zero.rate=0.9": False,
        "zero.inert=1": True,
        "base.width=2": False,
    }


def test_stages_that_are_one_for_all_seeds_are_told(project):
    assert collect(sweep(project, EACH + "sweep.seeds = 2\n")).fixed == ("corpus",)
    project.write("")
    assert collect(sweep(project, "sweep.seeds = 1\n")).fixed == ()


def test_failed_and_missing_runs_are_left_out_and_named(project):
    folder = sweep(project, EACH + "sweep.seeds = 2\nsweep.scores = ('zero/loss',)", "zero.bad_rate=0.9")
    missing = next(run for run in folder.plan.runs if run.arm == "base.width=2" and run.seed == 1)
    (folder.run_path(missing) / "run.json").unlink()
    rows = {row.label: row for row in collect(folder).arms}
    assert (
        rows["zero.rate=0.9"].states == {0: "failed", 1: "failed"}
        and not rows["zero.rate=0.9"].scores["zero/loss"].values
    )
    assert rows["zero.rate=0.9"].failures[1] == "stage zero: the last 10 updates were not finite"
    assert rows["base.width=2"].states == {0: "finished", 1: "not finished"}
    assert list(rows["base.width=2"].scores["zero/loss"].values) == [0]


def evaluate(folder, **parts):
    """Writes results as an evaluation does into every artifact of the stage zero."""
    for number, place in enumerate(sorted(folder.artifacts.glob("zero-*"))):
        score = Score(number / 10, 0.0, 1.0, 8)
        tables = {"base": {"strict/best_of_8": score}, "rl1": {"strict/best_of_8": score, "length": score}}
        write_results(place, Results(tables, **parts))


def read_seed(place) -> int:
    return read_json(place / "artifact.json")["seed"]


def test_without_named_scores_all_of_the_last_evaluation_are_taken_in_file_order(project):
    folder = sweep(project, "sweep.seeds = 2\n")
    assert collect(folder).scores == ("exam/loss",)
    evaluate(folder)
    numbers = collect(folder)
    assert numbers.scores == ("zero/base/strict/best_of_8", "zero/rl1/strict/best_of_8", "zero/rl1/length")
    assert sorted(numbers.arms[0].scores["zero/rl1/length"].values.values()) == [0.0, 0.1]


def test_scores_by_kind_and_by_prompt_style_are_found_too(project):
    lines = "sweep.seeds = 1\nsweep.scores = ('zero/rl1/kinds/cups/strict', 'zero/rl1/styles/direct/strict')\n"
    folder = sweep(project, lines)
    kinds, styles = ({"rl1": {part: {"strict": Score(mean, None, None, 8)}}} for part, mean in PARTS)
    evaluate(folder, kinds=kinds, styles=styles)
    scores = collect(folder).arms[0].scores
    assert [dict(score.values) for score in scores.values()] == [{0: 0.25}, {0: 0.5}]
    [file] = folder.artifacts.glob("zero-*/results.json")
    file.write_text('{"checkpoints": {}, "kinds": {"rl1": {"cups": 3}}}')
    with pytest.raises(InputError, match=r"results\.json: kinds"):
        collect(folder)


def test_the_gain_of_one_prompt_style_over_another_has_an_interval_over_seeds_of_its_own(project):
    score = "zero/rl1/styles/think less direct/strict"
    folder = sweep(project, f"sweep.seeds = 3\nsweep.scores = ('{score}', 'zero/rl1/styles/think/strict')\n")
    values = {0: (0.7, 0.2), 1: (0.9, 0.3), 2: (0.5, 0.2)}
    by_seed = {read_seed(place): place for place in folder.artifacts.glob("zero-*")}
    for seed, means in values.items():
        told = zip(("think", "direct"), means, strict=True)
        styles = {"rl1": {style: {"strict": Score(mean, None, None, 8)} for style, mean in told}}
        write_results(by_seed[seed], Results({}, styles=styles))
    gain = collect(folder).arms[0].scores[score]
    gains = np.array([think - direct for think, direct in values.values()])
    low, high = stats.t.interval(0.95, 2, loc=gains.mean(), scale=stats.sem(gains))
    assert gain.values == pytest.approx(dict(enumerate(gains)))
    assert gain.mean is not None and (gain.mean.low, gain.mean.high) == pytest.approx((low, high))


@pytest.mark.parametrize(
    ("score", "hint"), [("zero/lsos", "did you mean 'zero/loss'"), ("zero/xyz", "known are zero/loss\n")]
)
def test_a_score_that_no_run_has_is_refused_at_its_place(project, score, hint):
    folder = sweep(project, f"sweep.seeds = 1\nsweep.scores = ('base/loss', '{score}')\n")
    with pytest.raises(InputError, match=rf"no finished run has the score '{score}'.*{hint}") as caught:
        collect(folder)
    _, source, caret = str(caught.value).split("\n")
    assert source[caret.index("^") :][: caret.count("^")] == f"'{score}'"
