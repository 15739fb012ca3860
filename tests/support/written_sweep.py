"""A sweep's folder, written by hand: three arms of two seeds whose last is named like an attack, and their table."""

from pathlib import Path

from sweep_rows import BASELINE, BETTER, UNCLEAR, row, sweep
from written_run import workflow, write_run

from reasoning.findings.sweep_words import csv_text

HOSTILE_ARM = "a=<img src=x onerror=alert(1)>"
ARMS = {"baseline": BASELINE, "b=1": BETTER, HOSTILE_ARM: UNCLEAR}
SEEDS = (0, 1)


def write_sweep(folder: Path) -> Path:
    """Writes it and gives its folder; the table has five seeds, as if the other runs' folders had been moved away."""
    for arm in ARMS:
        for seed in SEEDS:
            write_run(folder / "arms" / arm / f"seed-{seed}", workflow()[:3])
    rows = [row(arm, values, None if values is BASELINE else BASELINE) for arm, values in ARMS.items()]
    (folder / "table.csv").write_text(csv_text(sweep(*rows).numbers))
    (folder / "sweep.gin").write_text("sweep = @pipeline.Sweep\n")
    return folder
