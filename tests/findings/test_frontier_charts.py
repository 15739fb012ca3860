"""What methods reached and took, as pictures."""

from dataclasses import replace
from pathlib import Path

from scaling_run import write_scaling_run

from reasoning.findings.facts import gather
from reasoning.findings.frontier_charts import frontier_charts
from reasoning.findings.scaling import scaling_of


def test_methods_are_drawn_against_tokens_and_where_they_are_known_against_flops(tmp_path: Path):
    scaling = scaling_of(gather(write_scaling_run(tmp_path / "run")), "exam")
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
