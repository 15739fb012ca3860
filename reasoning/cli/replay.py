"""``reasoning replay``: one step of a run again, here or elsewhere, and whether it gives the same to the last bit."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from reasoning.cli.arguments import parsed
from reasoning.cli.progress import output
from reasoning.core.errors import InputError
from reasoning.pipeline.devices import use_compile_cache
from reasoning.report.console import complain, put, table
from reasoning.use.replay import find_step, replay

_EPILOG = """\
examples:
  reasoning replay runs/r1_tiny                         the step that ended the run, from the state that it met
  reasoning replay runs/r1_tiny/zero --step 30          any recorded step, from the checkpoint before it
  reasoning replay runs/r1_tiny zero.optimizer.epsilon=1e-6   what the step would have been with another setting
"""


def main(arguments: Sequence[str]) -> int:
    """Prints the step's metrics, recorded and found, and returns the exit status: 1 where any differs."""
    chosen = parsed(_parser().parse_intermixed_args, arguments)
    if chosen.step < 0:
        raise InputError(f"--step {chosen.step} is no step; they are counted from 1")
    use_compile_cache(complain)
    found = replay(find_step(chosen.name, chosen.step), Path(chosen.file) if chosen.file else None, chosen.overrides)
    rows = [
        (name, repr(found.recorded[name]), repr(found.found[name]), "no" if name in found.differing else "yes")
        for name in found.compared
    ]
    console = output()
    put(console, f"{found.stage}, step {found.step}, from {found.start}", "bold")
    put(console, table("", ("metric", "recorded", "now", "same bits"), rows))
    told = f"{len(found.differing)} of {len(found.compared)} metrics differ" if found.differing else "all are the same"
    put(console, told, "bold" if found.differing else "")
    return 1 if found.differing else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reasoning replay",
        description="Does one step of a run again and compares its loss, gradient norm and all other metrics with what "
        "was recorded: the step that ended a run because its updates were skipped too often, from the batch and the "
        "state that were kept, or any other from the checkpoint before it. Runs the run's own settings, so also its "
        "user's code. Nothing in the run's folder changes. Ends with status 1 where something differs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="RUN", help="the --out of a run, RUN/STAGE, or the folder of a kept step")
    parser.add_argument("overrides", nargs="*", metavar="PART.FIELD=VALUE", help="settings that replace the run's")
    parser.add_argument("--step", type=int, default=0, metavar="N", help="a recorded step (default: the kept, or last)")
    parser.add_argument("--file", default="", metavar="FILE", help="the experiment (default: the run's resolved.gin)")
    return parser
