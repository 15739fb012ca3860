"""What methods reached and took, as tables and pictures."""

from dataclasses import replace
from pathlib import Path

import pytest
from scaling_run import write_scaling_run

from reasoning.findings.facts import gather
from reasoning.findings.scaling import scaling_of
from reasoning.report.compute import difficulty_grids, frontier_charts, scaling_grids


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scaling_run(tmp_path_factory.mktemp("scaling") / "run")


def test_the_tables_say_what_can_not_be_told(run: Path):
    [grid] = scaling_grids(scaling_of(gather(run), "exam"))
    assert grid.columns == ("method", "tokens a problem", "FLOPs a problem", "own", "frontier", "less the reference")
    cells = {row[0].text: row for row in grid.rows}
    assert [cell.text for cell in cells["beam@3"][:5]] == ["beam@3", "33.0", "–", "1.000", "*"]
    assert cells["beam@3"][5].text == "+25" and cells["best_own@4"][4].text == "–"
    assert cells["pass@4"][0].detail == "one of them is right"


def test_methods_are_drawn_against_tokens_and_where_they_are_known_against_flops(run: Path):
    scaling = scaling_of(gather(run), "exam")
    [tokens] = frontier_charts(scaling)
    assert tokens.across == "tokens a problem" and {cost for cost, _ in tokens.series[0].raw} >= {2, 8, 33}
    best = [row.method for row in scaling.checkpoints["base"] if row.frontier and not row.ceiling]
    told = tokens.series[0].told.split("; ")
    assert all(part.startswith(f"{method} ") for part, method in zip(told, best, strict=True))
    rows = tuple(
        replace(row, flops=place + 1.0, cheapest=True) for place, row in enumerate(scaling.checkpoints["base"])
    )
    _, flops = frontier_charts(replace(scaling, checkpoints={"base": rows}))
    [drawn] = flops.series
    assert flops.across == "FLOPs a problem" and dict(
        zip(drawn.labels, (cost for cost, _ in drawn.raw), strict=True)
    ) == {row.method: row.flops for row in rows if row.method != "pass@4"}


def test_bins_of_difficulty_are_columns(run: Path):
    [grid] = difficulty_grids(scaling_of(gather(run), "exam", bins=2))
    assert grid.columns == ("method", "part 1 of 2, hardest", "part 2 of 2, easiest")
    assert not difficulty_grids(scaling_of(gather(run), "exam"))
