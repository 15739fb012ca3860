import csv
import io

import pytest
from sweep_rows import BASELINE, BETTER, UNCLEAR, numbers_of, row

from reasoning.findings.sweep_words import COLUMNS, csv_text, sweep_sentences


def test_conclusions_say_what_can_and_what_cannot_be_told():
    table = numbers_of(
        row("baseline", BASELINE), row("b=1", BETTER, BASELINE), row("c=1", UNCLEAR, BASELINE), fixed=("corpus",)
    )
    told = sweep_sentences(table)[1:]
    assert told[0] == "b=1: exam/zero/strict/pass@1 is higher than with the baseline: +0.102 (+0.100 to +0.104, n 5)."
    assert told[1] == "c=1: can't tell from the baseline in exam/zero/strict/pass@1."
    assert told[2].startswith("\"Can't tell\" doesn't mean equal")
    assert (
        told[3].startswith("2 differences were looked at.")
        and "for all of them together (Holm's correction)" in told[3]
    )
    assert told[4].startswith("One for all seeds: corpus.")
    assert not any("seeds give wide intervals" in text for text in told)


def test_few_seeds_are_called_few():
    few = {seed: BASELINE[seed] for seed in range(3)}
    assert any(
        told.startswith("3 seeds give wide intervals") for told in sweep_sentences(numbers_of(row("baseline", few)))
    )


def test_a_setting_that_changes_nothing_is_called_so():
    told = sweep_sentences(numbers_of(row("baseline", BASELINE), row("b=1", BASELINE, BASELINE, inert=True)))[1:]
    assert told[0].startswith("b=1: every checkpoint equals the baseline's bit by bit")
    assert told[1] == "b=1: seed by seed the same as the baseline in exam/zero/strict/pass@1."


def test_the_csv_has_a_row_for_each_seed_and_a_summary_with_every_digit():
    table = numbers_of(row("baseline", BASELINE), row("b=1", BETTER, BASELINE))
    found = list(csv.DictReader(io.StringIO(csv_text(table))))
    assert tuple(found[0]) == COLUMNS and [line["row"] for line in found] == [*["seed"] * 5, "summary"] * 2
    assert [float(line["value"]) for line in found[6:11]] == list(BETTER.values())
    assert all(line["state"] == "finished" and line["mean"] == "" for line in found[6:11])
    cell = table.arms[1].scores["exam/zero/strict/pass@1"]
    assert cell.mean is not None and cell.difference is not None
    summary = found[11]
    assert (float(summary["mean"]), float(summary["low"]), summary["n"]) == (cell.mean.mean, cell.mean.low, "5")
    assert (float(summary["difference"]), float(summary["difference_high"])) == (
        cell.difference.mean,
        cell.difference.high,
    )
    assert summary["verdict"] == "higher" and summary["seed"] == "" and found[5]["difference"] == ""


@pytest.mark.parametrize("way", ["grid", "zip", "each", "seeds"])
def test_the_heading_says_how_the_arms_came_about(way):
    table = numbers_of(row("a=1", BASELINE), row("a=2", BASELINE, BASELINE), way=way)
    assert sweep_sentences(table)[0].startswith("2 arms, 5 seeds")
