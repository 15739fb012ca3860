import pytest
from sweep_rows import BASELINE, BETTER, UNCLEAR, row, sweep

from reasoning.report.markdown import inline


def test_a_cell_is_mean_interval_and_n_with_the_difference_below_and_only_evidence_in_bold():
    table = sweep(row("baseline", BASELINE), row("b=1", BETTER, BASELINE), row("c=1", UNCLEAR, BASELINE))
    text = table.markdown()
    # Half widths are 2.776 / sqrt(5) times the deviations: 0.015811, 0.017393 and 0.057009 of the arms, 0.0015811 and
    # 0.054772 of the differences.
    lines = [
        "| arm | strict/pass@1 |",
        "| --- | ---: |",
        "| baseline | 0.520<br><sub>0.500–0.540, n 5</sub> |",
        "| b=1 | 0.622<br><sub>0.600–0.644, n 5</sub> |",
        "| difference | **+0.102**<br><sub>+0.100 to +0.104, n 5</sub> |",
        "| c=1 | 0.530<br><sub>0.459–0.601, n 5</sub> |",
        "| difference | can't tell<br><sub>+0.010 (−0.058 to +0.078, n 5)</sub> |",
    ]
    assert "\n".join(lines) in text and text.startswith("# Sweep of a.gin\n")
    assert table.heading() in text and table.heading().startswith(
        "3 arms, 5 seeds (0, 1, 2, 3, 4): one setting at a time"
    )


@pytest.mark.parametrize("text", ["_x_ <b>", "$y$", "[l](u) `c`", "www.x.org", "a|b\\", "~z~ *k* @me"])
def test_what_a_user_calls_things_is_as_inert_as_in_the_report_of_a_run(text):
    named = row(text, BASELINE, {**BASELINE})
    assert inline(text) in sweep(row("baseline", BASELINE), named).markdown() and inline(text) != text


def test_one_seed_gives_no_interval_and_says_so():
    table = sweep(row("baseline", {0: 0.5}), row("b=1", {0: 0.9}, {0: 0.5}))
    text = table.markdown()
    lines = [
        "| b=1 | 0.900<br><sub>one seed: no interval</sub> |",
        "| difference | +0.400<br><sub>one seed: no interval</sub> |",
    ]
    assert "\n".join(lines) in text
    assert "| **" not in text and "inf" not in text and "without an interval" in text
    assert any(told.startswith("One seed says nothing about the spread") for told in table.conclusions())
    assert not any("looked at" in told or "can't tell" in told.lower() for told in table.conclusions())
    summary = [found for found in table.rows() if found["row"] == "summary"][1]
    assert summary["difference"] == 0.4 and summary["n"] == 1
    assert summary["low"] is summary["difference_low"] is summary["difference_high"] is None


def test_values_without_spread_are_given_without_an_interval():
    flat = dict.fromkeys(range(5), 0.1)
    text = sweep(
        row("baseline", flat), row("b=1", dict.fromkeys(range(5), 0.3), flat), row("c=1", flat, flat)
    ).markdown()
    unknown = "in each of 5 seeds: no spread, no interval"
    assert f"| can't tell<br><sub>+0.200 ({unknown})</sub> |" in text and "| the same<br><sub>n 5</sub> |" in text
    assert f"| 0.100<br><sub>{unknown}</sub> |" in text and "| **" not in text


def test_seeds_alone_give_mean_spread_and_each_seeds_value():
    (table,) = sweep(row("baseline", {0: 0.1, 1: 0.4, 2: 0.25}), way="seeds").grids()
    assert table.columns == ("score", "mean", "lowest", "highest", "seed 0", "seed 1", "seed 2")
    assert [cell.text for cell in table.rows[0]] == [
        "strict/pass@1", "0.250", "0.100", "0.400", "0.100", "0.400", "0.250",
    ]  # fmt: skip
    (single,) = sweep(row("baseline", {0: 0.1}), way="seeds").grids()
    assert single.columns == ("score", "seed 0")


def test_many_scores_become_tables_of_one_checkpoint_each_that_fit():
    names = [f"exam/{model}/score{number}" for model in ("base", "zero") for number in range(6)] + ["zero/tokens"]
    scores = {name: BASELINE for name in names}
    found = list(sweep(row("baseline", scores), row("b=1", scores, BASELINE)).grids())
    assert [(table.caption, len(table.columns)) for table in found] == [
        ("exam/base", 5), ("exam/base", 3), ("exam/zero", 5), ("exam/zero", 3), ("zero", 2),
    ]  # fmt: skip
    assert found[0].columns[1] == "score0" and found[4].columns[1] == "tokens"


def test_failures_and_missing_runs_are_told_with_what_they_do_to_the_means():
    three = {seed: BASELINE[seed] for seed in range(3)}
    failing = row("b=1", three, BASELINE, failures={3: "diverged | at 3\nmore"}, missing=(4,))
    told = sweep(row("baseline", BASELINE), failing).conclusions()
    assert "b=1, seed 3: failed: diverged | at 3" in told and "b=1: not finished for seed 4." in told
    assert any(text.startswith("Failed runs are left out") for text in told)
    assert "diverged \\| at 3" in sweep(row("baseline", BASELINE), failing).markdown()
    nothing = sweep(row("baseline", {}, missing=(0, 1)))
    assert nothing.conclusions()[0] == "No run has finished, so there is nothing to conclude."
    assert nothing.conclusions()[1] == "baseline: not finished for seeds 0, 1."


def test_the_csv_stays_readable_for_machines():
    table = sweep(row("baseline", {0: 1234567.5, 1: -0.00025}), row("b=1", {0: -1234567.5}, {0: 0.0, 1: 1.0}))
    text = table.csv()
    assert text.isascii() and "1234567.5" in text and "-0.00025" in text
    assert "−" in table.markdown() and "1.23 M" in table.markdown()
