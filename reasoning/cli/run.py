"""``reasoning run``: an experiment file from beginning to end, or from where it was cut off."""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from reasoning.cli.arguments import parsed
from reasoning.cli.distributed import PROCESS_ID, PROCESSES, initialize_from_environment
from reasoning.cli.preview import show_preview
from reasoning.cli.progress import display, output
from reasoning.cli.report import READ_ONLY, report_run, split_names
from reasoning.experiment.reader import Experiment, read_experiment
from reasoning.pipeline.devices import use_compile_cache, use_cpu_devices
from reasoning.pipeline.mirror import copy_run_files
from reasoning.pipeline.preview import preview
from reasoning.pipeline.processes import is_main
from reasoning.pipeline.run import RunOptions
from reasoning.pipeline.run_experiment import run_experiment, run_of
from reasoning.planning.held import check_devices, check_plan, read_plan, write_beside
from reasoning.report.console import complain, put, say
from reasoning.training.explosion import explosion_words
from reasoning.training.preemption import Interrupted

_EPILOG = """\
The same command goes on where an earlier one was stopped: finished stages are skipped, an unfinished one resumes.
examples:
  reasoning run experiments/r1_zero_tiny.gin
  reasoning run experiments/r1_zero_tiny.gin clipped.clip_high=0.2 run.seed=3 --out runs/clip
  reasoning run experiments/r1_zero_tiny.gin --check
"""


def main(arguments: Sequence[str]) -> int:
    """Runs the command and returns the exit status: 0, or 128 + signal when asked to stop after saving."""
    chosen = parsed(_parser().parse_intermixed_args, arguments)
    experiment, out, processes = read_arguments(chosen)
    if chosen.check:
        return _check(experiment, out, processes)
    options = RunOptions(
        split_names(chosen.only), chosen.again, chosen.strict_code, chosen.store, chosen.profile, chosen.jobs
    )
    plan = _planned(chosen, experiment, processes)
    try:
        with display(silent=os.environ.get(PROCESS_ID, "0") != "0") as watcher:
            done = run_experiment(experiment, out, watcher, options, processes)
    except Interrupted as interruption:
        complain(str(interruption))
        return interruption.exit_code
    finally:
        if plan is not None and is_main() and out.exists():
            write_beside(plan, out)
    if is_main():
        status = _report(out)
        if chosen.store:
            copy_run_files(chosen.store, out)
        put(output(), f"results are in {out}")
        for name, artifact in done.items():
            if told := explosion_words(artifact.results):
                complain(f"warning: stage {name}: {told}")
        return status
    return 0


def read_arguments(chosen: argparse.Namespace) -> tuple[Experiment, Path, int]:
    """The experiment that the command line names, the folder of its results, and how many processes share the work.

    Before that the process joins its job, and JAX gets its cache of compiled programs.
    """
    initialize_from_environment()
    use_compile_cache(complain if os.environ.get(PROCESS_ID, "0") == "0" else lambda told: None)
    out = Path(chosen.out) if chosen.out else Path("runs") / Path(chosen.file).stem
    return read_experiment(chosen.file, chosen.overrides), out, int(os.environ.get(PROCESSES, 1))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What every command takes that runs an experiment file."""
    parser.add_argument("file", help="the experiment file (.gin)")
    parser.add_argument("overrides", nargs="*", metavar="PART.FIELD=VALUE", help="settings that replace the file's")
    parser.add_argument("--out", metavar="DIR", default="", help="folder of the results (default: runs/<file's name>)")
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="do up to N stages that don't need each other at the same time, on a CPU (default: 1); same results",
    )
    parser.add_argument(
        "--strict-code", action="store_true", help="refuse, not only warn about, results of other code or libraries"
    )


def tell(text: str) -> None:
    """Prints a line of news, once for all processes of a job."""
    if is_main():
        say(text)


def _planned(chosen: argparse.Namespace, experiment: Experiment, processes: int) -> Mapping[str, Any] | None:
    """The plan that the run is held against, if any. Raises InputError on other devices, or with another mesh."""
    if not chosen.on and not chosen.plan:
        return None
    run = run_of(experiment)
    use_cpu_devices(run.cpu_devices, processes)
    devices = jax.devices()
    if chosen.on:
        check_devices(chosen.on, devices)
    plan = read_plan(Path(chosen.plan)) if chosen.plan else None
    if plan is not None:
        check_plan(plan, run.mesh, devices)
    return plan


def _report(out: Path) -> int:
    """Shows a run and writes its report; the exit status.

    The run is done: what fails here is a warning, with a way to try again. A folder that may only be read is an error.
    """
    try:
        report_run(out)
    except Exception as error:
        complain(
            f"warning: the run has finished, but its report failed ({type(error).__name__}: {error}); the results are "
            f"whole. Once the cause is mended, 'reasoning report {out}' writes the report"
        )
        return 2 if isinstance(error, OSError) and error.errno in READ_ONLY else 0
    return 0


def _check(experiment: Experiment, out: Path, processes: int) -> int:
    run = run_of(experiment)
    use_cpu_devices(run.cpu_devices, processes)
    previewed = preview(run, out, experiment, tell)
    if is_main():
        show_preview(output(), previewed, out)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reasoning run",
        description="Runs the stages of an experiment file, each once.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    parser.add_argument("--check", action="store_true", help="read and check everything, show the stages, run nothing")
    parser.add_argument(
        "--store",
        metavar="URL",
        default="",
        help="copy stages to s3://BUCKET/RUN or gs://BUCKET/RUN while they are worked at, and go on from there",
    )
    parser.add_argument("--on", default="", metavar="NAME", help="refuse to run elsewhere than on v5e-64, say")
    parser.add_argument(
        "--plan",
        default="",
        metavar="FILE",
        help="what reasoning plan --json wrote: refuse other devices or another mesh; the report has both",
    )
    parser.add_argument(
        "--profile",
        metavar="A:B",
        default="",
        help="trace steps A to B of each stage into DIR/profile/STAGE, for xprof (TensorBoard) and Perfetto",
    )
    some = parser.add_mutually_exclusive_group()
    some.add_argument("--only", metavar="A,B", default="", help="run these stages only")
    some.add_argument(
        "--from",
        metavar="A",
        default="",
        dest="again",
        help="do stage A, and all that is made from it, anew; what they had left moves to artifacts/earlier",
    )
    return parser
