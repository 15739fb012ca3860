"""Tables hold every number of what they are made from, and nothing else."""

import pyarrow as pa
import pytest
from sweep_rows import BASELINE, BETTER, numbers_of, row

from reasoning.core.errors import InputError
from reasoning.evaluation.results import Results, Score
from reasoning.findings.sweep_words import COLUMNS, csv_text
from reasoning.use.tables import metrics_table, scores_table, sweep_table


def test_metrics_have_a_column_each_and_nothing_where_a_step_has_none():
    table = metrics_table([{"step": 1, "loss": 0.5}, {"step": 2, "probe/strict": 1.0}, {"loss": None, "step": 3}])
    assert table.column_names == ["step", "loss", "probe/strict"]
    assert table.to_pylist() == [
        {"step": 1, "loss": 0.5, "probe/strict": None}, {"step": 2, "loss": None, "probe/strict": 1.0},
        {"step": 3, "loss": None, "probe/strict": None},
    ]  # fmt: skip
    assert metrics_table([]).column_names == ["step"] and len(metrics_table([])) == 0


def test_scores_stand_a_row_each_with_whose_how_asked_and_of_which_kind():
    right, bare = Score(0.5, 0.25, 0.75, 8, 0.125), Score(12.0, None, None, 8)
    by = {"r1": {"think": {"strict": right}}}
    table = scores_table(
        Results({"base": {"strict": right}, "r1": {"length": bare}}, {"r1": {"sums": {"strict": right}}}, by)
    )
    found = {(each["checkpoint"], each["style"], each["kind"], each["score"]): each for each in table.to_pylist()}
    assert set(found) == {
        ("base", "", "", "strict"),
        ("r1", "", "", "length"),
        ("r1", "", "sums", "strict"),
        ("r1", "think", "", "strict"),
    }
    one = found["base", "", "", "strict"]
    assert [one[name] for name in ("mean", "low", "high", "n", "ungraded")] == [0.5, 0.25, 0.75, 8, 0.125]
    assert found["r1", "", "", "length"]["low"] is None
    assert scores_table(Results({})).schema == table.schema


def test_a_sweeps_table_is_its_csv_with_numbers_as_numbers(tmp_path):
    (tmp_path / "table.csv").write_text(csv_text(numbers_of(row("baseline", BASELINE), row("a=1", BETTER, BASELINE))))
    table = sweep_table(tmp_path)
    assert tuple(table.column_names) == COLUMNS and table.schema.field("value").type == pa.float64()
    values = {(each["arm"], each["seed"]): each["value"] for each in table.to_pylist() if each["row"] == "seed"}
    assert values == {
        (arm, seed): value for arm, of in (("baseline", BASELINE), ("a=1", BETTER)) for seed, value in of.items()
    }
    [better] = [each for each in table.to_pylist() if each["row"] == "summary" and each["arm"] == "a=1"]
    assert better["verdict"] == "higher" and better["difference_low"] < better["difference"] < better["difference_high"]
    with pytest.raises(InputError, match="give the --out of a sweep"):
        sweep_table(tmp_path / "none")
