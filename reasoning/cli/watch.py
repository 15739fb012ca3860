"""``reasoning watch``: a run as it goes, live in the terminal, from its folder alone."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from reasoning.cli.arguments import parsed
from reasoning.cli.progress import output
from reasoning.cli.watching import RunWatcher
from reasoning.core.errors import InputError
from reasoning.pipeline.folder import RUN
from reasoning.report.console import live, put


def main(arguments: Sequence[str]) -> int:
    """Shows the run until it has finished or Ctrl-C, and returns the exit status."""
    chosen = parsed(_parser().parse_args, arguments)
    if chosen.every <= 0:
        raise InputError(f"--every {chosen.every} is no time to wait; give seconds above 0")
    path = Path(chosen.run)
    run, stage = (path, "") if (path / RUN).exists() else (path.parent, path.name)
    if not (run / RUN).exists():
        raise InputError(f"{path} is not a run's folder (it has no {RUN}); give the --out of a run, or RUN/STAGE")
    watcher, console = RunWatcher(run, stage), output()
    if chosen.once or not console.is_terminal:
        for part in watcher.look():
            put(console, part)
        return 0
    with live(console) as show:
        while True:
            show(tuple(watcher.look()))
            if watcher.finished():
                return 0
            time.sleep(chosen.every)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reasoning watch",
        description="Shows a run while it goes, from another terminal: the stage at work, its step and the time left, "
        "key curves, tokens a second, MFU where a peak of the devices is known, where a step's time goes, warnings. "
        "Of a finished run it shows the end. Without a terminal it prints this once.",
    )
    parser.add_argument("run", metavar="RUN", help="the --out of a run, or RUN/STAGE")
    parser.add_argument("--once", action="store_true", help="print what there is now, and end")
    parser.add_argument("--every", type=float, default=1.0, metavar="SECONDS", help="how often it looks (default: 1)")
    return parser
