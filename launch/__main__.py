"""``python -m launch TARGET EXPERIMENT …``: one sub-command a way of starting processes, each in its own file."""

import argparse
import sys
from functools import partial
from pathlib import Path

from launch import gke, local, multiprocess, slurm, tpu_vm
from launch.settings import add_settings, settings_of
from launch.target import ACTIONS, act, launch
from reasoning.core.errors import InputError
from reasoning.report.console import complain, say

_REMOTE = {
    "slurm": (slurm.Slurm, slurm.submission, "a cluster with Slurm, from a machine that has sbatch"),
    "tpu-vm": (tpu_vm.TpuVm, tpu_vm.submission, "TPU VMs of Google Cloud, through queued resources"),
    "gke": (gke.Gke, gke.submission, "Kubernetes with TPUs, by a JobSet"),
}

_HERE = ("local", "multiprocess")
_OURS = ("dry_run", "detach")
_NAMED = {False: "the name of a launch", True: "the folder of the run's results"}


def main(arguments: list[str] | None = None) -> int:
    """Start ``reasoning run`` in the way asked for, or look after what was started; the exit status.

    That of the run where it runs here; else 0, or 2 where something given is wrong or a step of another program failed.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if len(words) > 1 and words[0] in (*_REMOTE, *_HERE) and words[1] in ACTIONS:
            return _act(words)
        return _start(words)
    except InputError as error:
        complain(f"error: {error}")
        return 2


def _start(words: list[str]) -> int:
    options = _parser().parse_args(words) if not words or words[0] not in _REMOTE else None
    if options is None:
        return _submit(words)
    # What is ours may also stand behind the experiment's file, where all else is passed on.
    dry, detached = (getattr(options, name) or _flag(name) in options.rest for name in _OURS)
    rest = [word for word in options.rest if word not in map(_flag, _OURS)]
    command = [*local.command_of(options.experiment), options.experiment, *rest]
    if dry:
        say(" ".join(command))
        return 0
    out = None if "--check" in rest else local.out_of(options.experiment, rest)
    if detached and out is not None:
        return local.detach([sys.executable, "-m", "launch", *(word for word in words if word != "--detach")], out)
    if options.target == "local":
        local.become(command, out)
    return multiprocess.run_processes(command, options.processes, options.devices, options.grace, out)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _submit(words: list[str]) -> int:
    record, submission, told = _REMOTE[words[0]]
    parser = argparse.ArgumentParser(prog=f"python -m launch {words[0]}", description=f"Launches on {told}.")
    parser.add_argument("experiment", metavar="EXPERIMENT", help="an experiment file, or a sweep: one job a cell")
    parser.add_argument("overrides", nargs="*", metavar="PART.FIELD=VALUE", help="settings that replace the file's")
    parser.add_argument("--dry-run", action="store_true", help="write all files and commands, submit nothing")
    add_settings(parser, record)
    options = parser.parse_intermixed_args(words[1:])
    settings = settings_of(record, options)
    make = partial(submission, settings=settings)
    return launch(words[0], options.experiment, options.overrides, settings, make, options.dry_run)


def _act(words: list[str]) -> int:
    here = words[0] in _HERE
    parser = argparse.ArgumentParser(prog=f"python -m launch {words[0]} {words[1]}")
    parser.add_argument("name", metavar="OUT" if here else "NAME", help=_NAMED[here])
    if not here:
        parser.add_argument(
            "--cell", default="", help="of a sweep: this cell's number or name (default: all; logs: the first)"
        )
        parser.add_argument("--folder", default="runs/launch", help="where the files of launches are kept")
    options = parser.parse_args(words[2:])
    if here:
        return local.act(words[1], Path(options.name))
    return act(words[0], words[1], options.name, options.folder, options.cell)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m launch",
        description="Start a run.",
        epilog="Each also takes status, logs and stop, then a launch's name or, of local and multiprocess, the folder "
        "of the results. docs/launching.md has examples.",
    )
    targets = parser.add_subparsers(dest="target", required=True, metavar="TARGET")

    one = targets.add_parser("local", help="one process on this machine, with the devices that it has")
    _add_run(one)

    many = targets.add_parser("multiprocess", help="several processes on this machine, each with its own CPU devices")
    many.add_argument("--processes", type=_count, default=2, help="how many processes (default 2)")
    many.add_argument("--devices", type=_count, default=4, help="virtual CPU devices of each process (default 4)")
    many.add_argument(
        "--grace", type=float, default=15.0, help="seconds from a failure to the kill of the others (default 15)"
    )
    _add_run(many)
    for name, (_, _, told) in _REMOTE.items():
        targets.add_parser(name, help=told)
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="only show the command")
    parser.add_argument(
        "--detach", action="store_true", help="run in the background, with a log in the results' folder"
    )
    parser.add_argument("experiment", metavar="EXPERIMENT", help="an experiment file")
    parser.add_argument("rest", metavar="…", nargs=argparse.REMAINDER, help="passed on: key=value, --out FOLDER, …")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
