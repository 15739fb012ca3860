from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rewarded_rows import write_rewarded_step
from written_run import HOSTILE

from reasoning.findings.best_replies import BestReplies, read_best
from reasoning.report.replies import best_grid, comparison, probe_grid, reply_grids, spaced, verdict


def test_the_first_problems_in_order_are_shown_with_every_checkpoint_s_reply(facts):
    samples = facts.evaluations[0].samples
    later = {number: row for number, row in samples["r1"].items() if number > 3}
    grid = comparison(replace(facts.evaluations[0], samples={**samples, "r1": later}), ("base", "r1"))
    assert grid.columns == ("problem", "base", "r1")
    assert [row[0].text for row in grid.rows] == [f"{number}+1?" for number in range(4, 10)]
    assert grid.rows[0][0].detail == "right answer: 4" and grid.rows[0][1].text == "=4"


def test_chosen_checkpoints_are_shown_where_one_exam_asked_them_all(facts):
    assert [grid.columns for grid in reply_grids(facts, ("llama_weak", "r1"))] == [("problem", "llama_weak", "r1")]
    assert len(reply_grids(facts, ("r1",))) == 2 and len(reply_grids(facts)) == 2


@pytest.mark.parametrize(
    ("scores", "tone", "mark"),
    [
        ({"strict": 1.0, "lenient": 1.0, "tagged": 0.0}, "right", "✓ right"),
        ({"strict": 0.0, "lenient": 1.0, "tagged": 1.0}, "partly", "◐ lenient only"),
        ({"strict": 0.0, "lenient": 0.0, "tagged": 1.0}, "wrong", "✗ wrong"),
        ({}, "", ""),
    ],
)
def test_a_reply_is_marked_by_what_tells_right_from_wrong_in_word_and_colour(scores, tone, mark):
    cell = verdict("=1", scores, ("strict", "lenient"))
    assert (cell.text, cell.tone, cell.detail, cell.quoted) == ("=1", tone, mark, True)


def test_an_empty_reply_is_said_and_a_long_one_is_cut():
    assert verdict("", {}, ()).text == "(nothing)"
    assert verdict("x" * 1000, {}, ()).text.endswith("… (+400 characters)")


def test_probe_problems_are_followed_down_the_steps(facts):
    grid = probe_grid(facts.stage("zero"))
    assert grid.columns == ("problem", "step 0", "step 15", "step 30")
    assert [[cell.tone for cell in row[1:]] for row in grid.rows] == [
        ["right", "right", "right"], ["partly", "right", "right"], ["wrong", "wrong", "right"],
    ]  # fmt: skip
    assert grid.rows[0][1].text == HOSTILE


def test_a_stage_without_probes_has_no_table_and_damaged_rows_are_left_out(facts):
    zero = facts.stage("zero")
    assert probe_grid(facts.stage("base")) is None
    assert probe_grid(replace(zero, probes=({"step": 1, "text": 3},))) is None
    ragged = (*zero.probes[:3], *zero.probes[3:5])
    assert probe_grid(replace(zero, probes=ragged)).rows[2][2].text == "–"


def test_of_many_probes_the_first_the_last_and_some_between_are_shown(facts):
    zero = facts.stage("zero")
    many = tuple(dict(zero.probes[0]) | {"step": step} for step in range(0, 101, 5))
    columns = probe_grid(replace(zero, probes=many)).columns
    assert columns[1] == "step 0" and columns[-1] == "step 100" and len(columns) == 7
    assert spaced(3, 6) == [0, 1, 2] and spaced(100, 3) == [0, 50, 99]


def test_a_row_tells_the_reward_the_problem_the_reply_and_all_that_was_given_for_it_with_the_verdict(tmp_path: Path):
    rewards = {"code": np.array([0.0, 0, 0, 0, 0, 1, 0, 0]), "tagged": np.full(8, np.nan)}
    verdicts = ["wrong", None, "wrong", "wrong", "wrong", "passed", "wrong", "wrong"]
    write_rewarded_step(
        tmp_path, 12, 8, rewards,
        **{"verdicts/code": verdicts, "failing/code": [2] + [None] * 7, "details/code": ["got 3"] + [None] * 7},
    )  # fmt: skip
    grid = best_grid("zero", read_best(tmp_path, "zero"))
    assert grid is not None and grid.caption == "zero, step 12: the best-paid replies of each reward"
    assert grid.columns == ("reward", "problem", "reply") and not grid.numeric
    assert [[cell.text for cell in row] for row in grid.rows] == [
        ["code", "question 1", "reply 5"], ["code", "question 0", "reply 0"],
    ]  # fmt: skip
    assert [row[0].detail for row in grid.rows] == ["1", "0"] and grid.rows[0][1].detail == "right answer: 1"
    assert grid.rows[0][2].detail == "#1  reward 0.5  (code 1)  code: passed  advantage 0.00  7 tokens"
    assert "code: wrong at test 2, got 3" in grid.rows[1][2].detail
    assert all(cell.quoted for row in grid.rows for cell in row[1:])


def test_long_texts_are_cut_and_an_empty_one_is_said(tmp_path: Path):
    file = write_rewarded_step(tmp_path, 1, 8, {"strict": np.array([1.0, 0, 0, 0, 0.5, 0, 0, 0])})
    table = pq.read_table(file)
    texts = pa.array(["x" * 9000, *[""] * 7])
    pq.write_table(table.set_column(table.schema.get_field_index("completion"), "completion", texts), file)
    grid = best_grid("zero", read_best(tmp_path, "zero"))
    assert grid is not None and grid.rows[0][2].text == "x" * 500 + "… (+8500 characters)"
    assert grid.rows[1][2].text == "(nothing)"


def test_nothing_that_was_paid_is_no_table():
    assert best_grid("base", None) is None and best_grid("zero", BestReplies(2, {"strict": ()})) is None
