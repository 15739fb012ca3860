"""``reasoning run``: an experiment file from beginning to end, or from where it was cut off."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from reasoning.cli.distributed import PROCESS_ID, PROCESSES, initialize_from_environment
from reasoning.cli.preview import show_preview
from reasoning.cli.progress import display, output
from reasoning.experiment import reader
from reasoning.experiment.reader import Experiment
from reasoning.pipeline.devices import use_compile_cache, use_cpu_devices
from reasoning.pipeline.launch import launch, origin_of, run_of
from reasoning.pipeline.preview import preview
from reasoning.pipeline.processes import is_main
from reasoning.pipeline.run import Choice
from reasoning.report.facts import gather
from reasoning.report.terminal import show
from reasoning.report.write import PAGE, TEXT, write
from reasoning.training.preemption import Interrupted

EPILOG = """\
The same command goes on where an earlier one was stopped: finished stages are skipped, an unfinished one resumes.
examples:
  reasoning run experiments/r1_zero_tiny.gin
  reasoning run experiments/r1_zero_tiny.gin zero.clip_high=0.2 run.seed=3 --out runs/clip
  reasoning run experiments/r1_zero_tiny.gin --check
"""


def main(arguments: Sequence[str]) -> int:
    """Runs the command and returns the exit status: 0, or 128 + signal when asked to stop after saving."""
    chosen = _parser().parse_intermixed_args(arguments)
    initialize_from_environment()
    use_compile_cache()
    read = reader.read(chosen.file, chosen.overrides)
    out = Path(chosen.out) if chosen.out else Path("runs") / Path(chosen.file).stem
    processes = int(os.environ.get(PROCESSES, 1))
    if chosen.check:
        return _check(read, out, processes)
    choice = Choice(_names(chosen.only), chosen.again, chosen.strict_code)
    try:
        with display(silent=os.environ.get(PROCESS_ID, "0") != "0") as watcher:
            launch(read, out, watcher, choice, processes)
    except Interrupted as interruption:
        print(interruption, file=sys.stderr)
        return interruption.exit_code
    if is_main():
        console = output()
        report(console, out)
        console.print(f"results are in {out}", soft_wrap=True, markup=False, highlight=False)
    return 0


def report(console: Console, out: Path) -> None:
    """Shows a run and writes its report. The run is done: whatever fails here is a warning, with a way to try again."""
    try:
        facts = gather(out)
        show(console, facts)
        write(out, facts)
    except Exception as error:
        print(
            f"warning: the run has finished, but its report failed ({type(error).__name__}: {error}); the results are "
            f"whole. Once the cause is mended, 'reasoning report {out}' writes the report",
            file=sys.stderr,
        )
    else:
        console.print(
            f"the whole report is in {out / PAGE} (and {TEXT})", soft_wrap=True, markup=False, highlight=False
        )


def _check(read: Experiment, out: Path, processes: int) -> int:
    run = run_of(read)
    use_cpu_devices(run.cpu_devices, processes)
    found = preview(run, out, origin_of(read))
    if is_main():
        show_preview(output(), found, out)
    return 0


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reasoning run",
        description="Runs the stages of an experiment file, each once.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", help="the experiment file (.gin)")
    parser.add_argument("overrides", nargs="*", metavar="PART.FIELD=VALUE", help="settings that replace the file's")
    parser.add_argument("--out", metavar="DIR", default="", help="folder of the results (default: runs/<file's name>)")
    parser.add_argument("--check", action="store_true", help="read and check everything, show the stages, run nothing")
    some = parser.add_mutually_exclusive_group()
    some.add_argument("--only", metavar="A,B", default="", help="run these stages only")
    some.add_argument(
        "--from",
        metavar="A",
        default="",
        dest="again",
        help="do stage A, and all that is made from it, anew; what they had left moves to artifacts/earlier",
    )
    parser.add_argument(
        "--strict-code", action="store_true", help="refuse, not only warn about, results of other code or libraries"
    )
    return parser
