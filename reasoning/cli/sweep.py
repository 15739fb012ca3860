"""``reasoning sweep``: one experiment with some settings changed, over several seeds, compared in a table."""

import argparse
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from reasoning.cli.arguments import parsed
from reasoning.cli.distributed import PROCESS_ID
from reasoning.cli.preview import show_contents
from reasoning.cli.progress import display, output
from reasoning.cli.run import add_arguments, read_arguments, tell
from reasoning.core.errors import InputError
from reasoning.core.files import lock
from reasoning.pipeline.mirror import copy_run_files
from reasoning.pipeline.processes import is_main
from reasoning.pipeline.sweeps.arms import arm_title, expand_sweep
from reasoning.pipeline.sweeps.folder import SweepFolder
from reasoning.pipeline.sweeps.run_sweep import SweepPreview, preview_sweep, run_sweep
from reasoning.report.console import complain, put, table
from reasoning.report.sweep import show_sweep, write_table
from reasoning.training.preemption import Interrupted

_EPILOG = """\
A sweep file is an experiment file with a few more lines:
  include 'r1_zero_tiny.gin'
  sweep = @pipeline.Sweep
  sweep.each = {'clipped.clip_high': (0.2, 0.28), 'zero.kl_coefficient': (0.0, 0.001)}   # or grid, or zip
  sweep.seeds = 5
  sweep.scores = ('exam/zero/lenient/pass@1', 'exam/zero/length')                     # or leave it out: all

each: one setting at a time against the file's own. grid: all combinations. zip: values that go together.
The same command goes on where it was stopped. docs/sweeps.md says how to read the table.
examples:
  reasoning sweep experiments/sweeps/r1_zero_clip.gin --check
  reasoning sweep experiments/sweeps/r1_zero_clip.gin zero.steps=40 sweep.seeds=3 --out runs/clip
"""


def main(arguments: Sequence[str]) -> int:
    """Runs the command and returns the exit status: 0, 1 where a run failed, or 128 + signal when asked to stop."""
    chosen = parsed(_parser().parse_intermixed_args, arguments)
    experiment, out, processes = read_arguments(chosen)
    if chosen.check:
        preview = preview_sweep(experiment, out, processes, tell)
        if is_main():
            _show_sweep_preview(output(), preview, out)
        return 0
    if chosen.only_table:
        return _only_table(SweepFolder(out, expand_sweep(experiment)))
    watch = partial(display, silent=os.environ.get(PROCESS_ID, "0") != "0")
    try:
        folder = run_sweep(
            experiment, out, watch, write_table, chosen.strict_code, processes, chosen.store, chosen.jobs
        )
    except Interrupted as interruption:
        complain(str(interruption))
        return interruption.exit_code
    status = _finish(folder)
    if chosen.store and is_main():
        copy_run_files(chosen.store, out)
    return status


def _finish(folder: SweepFolder) -> int:
    """Writes and shows the table; 1 where a run of it failed."""
    if is_main():
        console = output()
        show_sweep(console, write_table(folder))
        put(console, f"the table is in {folder.path}/table.md and table.csv")
    return int(any(folder.state(run) == "failed" for run in folder.plan.runs))


def _only_table(folder: SweepFolder) -> int:
    if not folder.path.is_dir():
        raise InputError(f"there is no folder {folder.path}; give the --out of a sweep")
    with lock(folder.path):
        folder.keep_plan(complain)
        return _finish(folder)


def _show_sweep_preview(console: Console, preview: SweepPreview, out: Path) -> None:
    """Prints the arms, the seeds, and how often each stage runs in all."""
    plan = preview.plan
    arms = ((arm_title(arm), f"arms/{arm.label}") for arm in plan.arms)
    put(console, table(f"{out}: nothing was run", ("arm", "folder"), arms))
    seeds = ", ".join(map(str, plan.seeds))
    put(console, f"arms: {len(plan.arms)}, seeds: {seeds}, runs: {len(plan.runs)}", wrapped=True)
    times = [f"{each.different}{', shared' if each.different < each.runs else ''}" for each in preview.stages]
    stages = (
        (each.stage, str(each.runs), done, str(each.finished)) for each, done in zip(preview.stages, times, strict=True)
    )
    put(console, table("", ("stage", "runs that need it", "times it is done", "already finished"), stages))
    total, alone = sum(stage.different for stage in preview.stages), sum(stage.runs for stage in preview.stages)
    put(console, f"{total} stage runs in all; without sharing it would be {alone}", wrapped=True)
    show_contents(console, preview.contents)
    for leak in preview.leaks:
        put(console, leak, wrapped=True)
    if preview.obstacle:
        put(console, f"this machine can't run it: {preview.obstacle}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reasoning sweep",
        description="Runs an experiment with some settings changed, over several seeds, and compares the results in a "
        "table with intervals. Stages that a change doesn't reach are done once.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    parser.add_argument(
        "--store",
        metavar="URL",
        default="",
        help="copy the stages of all runs to s3://BUCKET/SWEEP or gs://…, each once",
    )
    some = parser.add_mutually_exclusive_group()
    some.add_argument("--check", action="store_true", help="read and check all runs, show what is shared, run nothing")
    some.add_argument("--only-table", action="store_true", help="run nothing; write the table from what is finished")
    return parser
