from dataclasses import replace

import pytest
from scaling_run import write_scaling_run
from written_run import with_results

from reasoning.evaluation.results import Confusion, Score
from reasoning.findings.beside_plan import BesidePlan, StepTimes
from reasoning.findings.facts import Facts, gather
from reasoning.findings.scaling import scaling_of
from reasoning.report.document import Cell, Grid, Paragraph
from reasoning.report.grids import (
    difference_grid,
    difficulty_grids,
    plan_blocks,
    scaling_grids,
    score_cell,
    score_grids,
    style_grid,
    total_grid,
)


def test_the_first_table_has_the_headline_and_a_folded_one_the_rest(facts):
    first, more, *parts = score_grids(facts.evaluations[0])
    assert first.caption == "exam: 60 held-out problems" and first.columns[:3] == (
        "checkpoint",
        "strict/pass@1",
        "lenient/pass@1",
    )
    assert first.open and first.columns[3:] == ("strict/greedy", "lenient/greedy", "lenient/majority@8", "length")
    assert more.folded and not more.open
    assert {*first.columns, *more.columns} == {"checkpoint", *facts.evaluations[0].results.columns()}
    assert [grid.caption for grid in parts if not grid.folded] == ["exam, by kind of problem", "exam, by prompt style"]


def test_kinds_and_styles_stand_side_by_side_under_each_score(facts):
    by_kind, by_style = (grid for grid in score_grids(facts.evaluations[0])[2:] if not grid.folded)
    assert by_kind.groups == (("strict pass@1", 2), ("lenient pass@1", 2), ("length", 2))
    assert by_kind.columns == ("checkpoint", *("chains", "cups") * 3)
    assert by_style.columns[1:4] == ("as asked", "direct", "think")
    zero = facts.evaluations[0].results.kinds["zero"]
    assert by_kind.rows[1][1:3] == tuple(score_cell(zero[kind], "strict/pass@1") for kind in ("chains", "cups"))
    assert all(len(row) == len(grid.columns) for grid in (by_kind, by_style) for row in grid.rows)
    assert by_style.rows[1][1] == score_cell(facts.evaluations[0].checkpoints["zero"], "strict/pass@1")


def test_results_without_kinds_and_styles_have_one_table(facts):
    bare = with_results(facts.evaluations[0], kinds={}, styles={})
    assert [grid.folded for grid in score_grids(bare)] == [False, True]


def test_a_cell_is_a_mean_over_its_interval_and_n_where_that_differs():
    scores = {"a": Score(0.5, 0.25, 0.75, 8), "b": Score(0.5, None, None, 8)}
    assert score_cell(scores, "a") == Cell("0.500", "0.250–0.750")
    assert score_cell(scores, "b", True) == Cell("0.500", "no interval, n 8")
    assert score_cell(scores, "c") == Cell("–")


def test_what_was_not_graded_stands_beside_the_interval_where_there_is_some():
    scores = {"a": Score(0.5, 0.25, 0.75, 8, 0.025), "b": Score(0.5, None, None, 8, 1 / 3000)}
    assert score_cell(scores, "a") == Cell("0.500", "0.250–0.750, 2.5 % not graded")
    assert score_cell(scores, "b", True) == Cell("0.500", "no interval, n 8, 0.0333 % not graded")


def test_a_column_of_lengths_has_the_same_digits_all_down():
    lengths = [{"length": Score(mean, mean - 1, mean + 1, 8)} for mean in (9.5781, 12.125)]
    cells = [score_cell(scores, "length") for scores in lengths]
    assert cells == [Cell("9.6", "8.6–10.6"), Cell("12.1", "11.1–13.1")]


def test_differences_say_where_nothing_can_be_told(facts):
    grid = difference_grid(facts, facts.evaluations[0])
    assert grid.columns == ("pair", "strict", "lenient", "tagged", "chains", "cups")
    assert grid.groups == (("all problems", 3), ("lenient pass@1 by kind", 2))
    cells = {row[0].text: row[1:] for row in grid.rows}
    assert cells["zero − base"][1].tone == "up" and cells["cold − zero"][1].tone == "down"
    assert cells["r1 − sft2"][1].text == "can't tell" and cells["r1 − sft2"][1].tone == "unsure"
    assert "to" in cells["r1 − sft2"][1].detail and all(len(row) == 6 for row in grid.rows)


def test_there_are_no_differences_without_samples(facts):
    assert difference_grid(facts, replace(facts.evaluations[0], samples={})) is None


def test_styles_are_compared_for_each_checkpoint_and_kind(facts):
    grid = style_grid(facts.evaluations[0])
    assert grid.columns == ("styles", "all problems", "chains", "cups")
    assert [row[0].text for row in grid.rows[:3]] == [
        "base: direct − think",
        "base: direct − as asked",
        "base: think − as asked",
    ]
    # The written run has the very same replies in every style.
    assert {cell.text for row in grid.rows for cell in row[1:]} == {"can't tell"}
    assert style_grid(replace(facts.evaluations[0], restyled={})) is None


def test_nothing_counted_makes_no_table(facts):
    assert total_grid(replace(facts, stages=facts.stages[:1])) is None


def test_confusions_are_tables_of_counts_open_for_the_last_checkpoint(facts):
    *_, last = facts.evaluations[0].checkpoints
    confusion = Confusion(("no", "yes"), ((12, 3, 0), (1, 20_000, 4)))
    shown = with_results(facts.evaluations[0], confusions={"base": {"greedy": confusion}, last: {"greedy": confusion}})
    first, open_one = score_grids(shown)[-2:]
    assert first.folded and not open_one.folded
    assert open_one.caption == f"exam: what {last} gave by greedy (columns) for each right answer (rows)"
    assert open_one.columns == ("right answer", "no", "yes", "none of them")
    assert [[cell.text for cell in row] for row in open_one.rows] == [["no", "12", "3", "0"], ["yes", "1", "20 k", "4"]]
    tones = [[cell.tone for cell in row[1:]] for row in open_one.rows]
    assert tones == [["heat4", "heat1", ""], ["heat1", "heat4", "heat1"]]


def test_totals_are_a_row_a_stage_and_one_for_all(facts):
    grid = total_grid(facts)
    assert grid.rows[-1][0].text == "in all" and "corpus" not in [row[0].text for row in grid.rows]
    cold_data = next(row for row in grid.rows if row[0].text == "cold_data")
    assert [cell.text for cell in cold_data] == ["cold_data", "Collect", "25.6 k", "1.02 G"]


def test_steps_stand_beside_their_plan_and_what_is_not_known_is_said():
    times = (StepTimes("zero", 1.2, 2.4), StepTimes("later", 0.5, None), StepTimes("tiny", 0.002, 0.9))
    told, grid = plan_blocks(BesidePlan("v5e:2x2", 6 * 2**30, 5 * 2**30, times))
    assert isinstance(told, Paragraph) and "6.00 GiB" in told.text and "held 5.00 GiB" in told.text
    assert isinstance(grid, Grid) and [[cell.text for cell in row] for row in grid.rows] == [
        ["zero", "1.2 s", "2.4 s", "2.0"], ["later", "500 ms", "–", "–"], ["tiny", "2 ms", "900 ms", "450"],
    ]  # fmt: skip
    untold, _ = plan_blocks(BesidePlan("v5e:2x2", 6 * 2**30, None, ()))
    assert isinstance(untold, Paragraph) and "devices don't tell" in untold.text and plan_blocks(None) == ()


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return gather(write_scaling_run(tmp_path_factory.mktemp("scaling") / "run"))


def test_the_tables_say_what_can_not_be_told(scaled: Facts):
    [grid] = scaling_grids(scaling_of(scaled, "exam"))
    assert grid.columns == ("method", "tokens a problem", "FLOPs a problem", "own", "frontier", "less the reference")
    cells = {row[0].text: row for row in grid.rows}
    assert [cell.text for cell in cells["beam@3"][:5]] == ["beam@3", "33.0", "–", "1.000", "*"]
    assert cells["beam@3"][5].text == "+25" and cells["best_own@4"][4].text == "–"
    assert cells["pass@4"][0].detail == "one of them is right"


def test_bins_of_difficulty_are_columns(scaled: Facts):
    [grid] = difficulty_grids(scaling_of(scaled, "exam", bins=2))
    assert grid.columns == ("method", "part 1 of 2, hardest", "part 2 of 2, easiest")
    assert not difficulty_grids(scaling_of(scaled, "exam"))
