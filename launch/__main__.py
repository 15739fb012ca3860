"""`python -m launch WAY EXPERIMENT …`: one sub-command a way of starting processes."""

import argparse
import sys

from launch import local, multiprocess

RUN = (sys.executable, "-m", "reasoning", "run")


def main(arguments: list[str] | None = None) -> int:
    """Start ``reasoning run`` in the way asked for and return the exit code of the run."""
    parser = argparse.ArgumentParser(prog="python -m launch", description="Start a run.")
    ways = parser.add_subparsers(dest="way", required=True, metavar="WAY")

    one = ways.add_parser("local", help="one process on this machine, with the devices that it has")
    _add_run(one)

    many = ways.add_parser("multiprocess", help="several processes on this machine, each with its own CPU devices")
    many.add_argument("--processes", type=_count, default=2, help="how many processes (default 2)")
    many.add_argument("--devices", type=_count, default=4, help="virtual CPU devices of each process (default 4)")
    many.add_argument(
        "--grace", type=float, default=15.0, help="seconds from a failure to the kill of the others (default 15)"
    )
    _add_run(many)

    options = parser.parse_args(arguments)
    command = [*RUN, options.experiment, *options.rest]
    if options.way == "local":
        local.become(command)
    return multiprocess.run_processes(command, options.processes, options.devices, options.grace)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("experiment", metavar="EXPERIMENT", help="an experiment file")
    parser.add_argument("rest", metavar="…", nargs=argparse.REMAINDER, help="passed on: key=value, --out FOLDER, …")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
