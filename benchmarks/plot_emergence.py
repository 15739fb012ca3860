"""The plot of ``experiments/sweeps/emergence.gin``: what a chain of thought gains, by the size of the model.

    python benchmarks/plot_emergence.py runs/emergence/table.csv docs/emergence.svg

Points are means over seeds with their 95 % intervals (Student's t), as the sweep's own table has them.
"""

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path

import matplotlib

from reasoning.experiment.reader import read_experiment
from reasoning.models.model import build_model, parameter_count

matplotlib.use("svg")
matplotlib.rcParams |= {"svg.hashsalt": "emergence", "svg.fonttype": "none", "font.size": 9}

SWEEP = Path(__file__).resolve().parents[1] / "experiments" / "sweeps" / "emergence.gin"
STYLES = "exam/base/styles"
SERIES = {
    "made to think": f"{STYLES}/think/lenient/pass@1",
    "made to answer at once": f"{STYLES}/direct/lenient/pass@1",
    "gain": f"{STYLES}/think less direct/lenient/pass@1",
}


@dataclass(frozen=True)
class Point:
    """A size in parameters, and a score's mean over seeds with the ends of its interval; of one seed these are it."""

    parameters: int
    mean: float
    low: float
    high: float


def points(table: Path) -> dict[str, list[Point]]:
    """The points of each series, by size."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["row"] == "summary"]
    return {
        name: sorted(
            (
                Point(size(row["settings"]), *(float(row[end] or row["mean"]) for end in ("mean", "low", "high")))
                for row in rows
                if row["score"] == score and row["mean"]
            ),
            key=lambda point: point.parameters,
        )
        for name, score in SERIES.items()
    }


def size(settings: str) -> int:
    """The number of parameters of the model of an arm."""
    overrides = [setting.strip() for setting in settings.split(",")]
    return parameter_count(build_model(read_experiment(SWEEP, overrides).part("tiny")))


def draw(series: dict[str, list[Point]], file: Path) -> None:
    """Accuracy in both styles above, and the gain below."""
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(5.2, 4.6), height_ratios=(3, 2))
    for (name, each), colour in zip(series.items(), ("#1b6ca8", "#c0504d", "#333333"), strict=True):
        axes = below if name == "gain" else above
        means = [point.mean for point in each]
        errors = [
            [point.mean - point.low for point in each],
            [point.high - point.mean for point in each],
        ]
        axes.errorbar(
            [point.parameters for point in each], means, errors, label=name, color=colour, marker="o", capsize=3
        )
    above.set(ylabel="right (pass@1)", ylim=(-0.05, 1.05))
    above.axhline(0.1, color="#999999", linewidth=0.7, linestyle=":")
    above.legend(frameon=False)
    below.set(ylabel="gain", xlabel="parameters", xscale="log")
    below.axhline(0, color="#999999", linewidth=0.7)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="table.csv of the sweep")
    parser.add_argument("plot", type=Path, help="the SVG file to write")
    arguments = parser.parse_args()
    draw(points(arguments.table), arguments.plot)
