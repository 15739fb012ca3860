import numpy as np
import pytest
from written_run import DRAWN, HOSTILE, PROBLEMS, place_of

from reasoning.core.errors import InputError
from reasoning.evaluation.results import SAMPLES, read_samples
from reasoning.findings.exam_pages import chosen, problems, replies, value
from reasoning.findings.rollout_pages import Wanted, conditions


@pytest.fixture(scope="module")
def file(written):
    return place_of(written, "exam") / SAMPLES


def test_every_problem_has_each_checkpoints_mean_over_its_samples(file):
    found = problems(file)
    assert list(found) == list(range(PROBLEMS))
    rows = read_samples(file)
    for row in rows:
        if not row.style and row.method == "samples":
            assert found[row.problem].means[row.checkpoint] == pytest.approx(np.mean(row.scores["strict"]))


def test_problems_are_chosen_by_who_was_right_and_sorted_by_how_far_apart_they_are(file):
    better = chosen(file, Wanted(conditions("r1>=1, base<0.5")))
    assert better and all(each.means["r1"] == 1 and each.means["base"] < 0.5 for each in better)
    assert len(better) == sum(each.means["r1"] == 1 and each.means["base"] < 0.5 for each in problems(file).values())
    spread = [value(each, "spread") for each in chosen(file, Wanted(sort="spread", descending=True))]
    assert spread == sorted(spread, reverse=True) and len(spread) == PROBLEMS
    assert [each.number for each in chosen(file, Wanted(kind="cups", text="7+"))] == [7, 17, 27, 37, 47, 57]
    with pytest.raises(InputError, match="problems have no number 'r2'; there are base, cold"):
        chosen(file, Wanted(sort="r2"))


def test_a_problem_is_read_with_every_checkpoints_replies(file):
    rows = replies(file, 0)
    assert {row["checkpoint"] for row in rows} == {"base", "zero", "cold", "rl1", "sft2", "r1"}
    assert {row["problem"] for row in rows} == {0} and rows[0]["texts"] == [HOSTILE]
    assert {row["replies"] for row in rows} == {1, DRAWN}
    with pytest.raises(InputError, match="no problem 60"):
        replies(file, PROBLEMS)


def test_damaged_rows_are_left_out(file, tmp_path):
    lines = file.read_bytes().split(b"\n")
    damaged = tmp_path / SAMPLES
    damaged.write_bytes(b"\n".join([lines[0], b"{", b"[3]", b'{"problem": 1}', b"\xff", lines[2]]))
    assert sum(len(each.places) for each in problems(damaged).values()) == 2
