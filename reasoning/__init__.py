"""Turns a base language model into a reasoning model, and shows its work.

``import reasoning as r`` and then::

    run = r.run(r.read("experiments/r1_zero_tiny.gin", {"zero.clip_high": 0.2}), out="runs/zero")
    run = r.open("runs/zero")
    run["zero"].metrics()
    r.sweep(r.read("experiments/sweeps/r1_zero_clip.gin"), out="runs/clip").table()
    r.stages.GRPO(...)

Importing this package imports nothing else; subpackages load at their first use.
"""

import importlib
import os
import pkgutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reasoning.core.experiment import Experiment, Overrides
    from reasoning.pipeline.folder import RunFolder
    from reasoning.pipeline.run import Run
    from reasoning.report.sweep import SweepResult


def read(path: str | os.PathLike[str], overrides: "Overrides" = ()) -> "Experiment":
    """Reads and checks an experiment file; ``overrides`` are ``{'zero.clip_high': 0.2}`` or the command line's texts.

    Raises InputError with file, line and a caret for anything that is wrong.
    """
    from reasoning.core import experiment

    return experiment.read(os.fspath(path), overrides)


def run(
    experiment: "Experiment | Run",
    out: str | os.PathLike[str],
    only: Sequence[str] = (),
    again: str = "",
    strict_code: bool = False,
) -> "RunFolder":
    """Runs an experiment in the folder ``out``, skips what is finished there, and opens the result.

    ``only`` names the only stages to run, ``again`` one that is done anew with everything made from it; with
    ``strict_code`` results of other code or libraries are refused. Raises InputError for bad input and Interrupted when
    a signal asked to stop; the same call then goes on.
    """
    from pathlib import Path

    from reasoning.cli.progress import display
    from reasoning.pipeline.folder import open_run
    from reasoning.pipeline.launch import launch
    from reasoning.pipeline.run import Choice

    with display() as watcher:
        launch(experiment, Path(out), watcher, Choice(tuple(only), again, strict_code))
    return open_run(out)


def sweep(experiment: "Experiment", out: str | os.PathLike[str], strict_code: bool = False) -> "SweepResult":
    """Runs a sweep file in the folder ``out``, skips what is finished there, and opens the result: its ``table()``.

    A run that fails doesn't stop the others; ``failed()`` of the result says why it did. Raises InputError for bad
    input and Interrupted when a signal asked to stop; the same call then goes on.
    """
    from pathlib import Path

    from reasoning.cli.progress import display
    from reasoning.pipeline.sweep_run import launch_sweep
    from reasoning.report.sweep import SweepResult, write_table

    return SweepResult(launch_sweep(experiment, Path(out), display, write_table, strict_code))


def open(path: str | os.PathLike[str]) -> "RunFolder":
    """Opens the folder of a run: ``open('runs/zero')['zero'].metrics()``. Raises InputError where it isn't one."""
    from reasoning.pipeline.folder import open_run

    return open_run(path)


def __getattr__(name: str) -> Any:
    if name in _subpackages():
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(["open", "read", "run", "sweep", *_subpackages()])


def _subpackages() -> set[str]:
    return {module.name for module in pkgutil.iter_modules(__path__) if module.ispkg}
