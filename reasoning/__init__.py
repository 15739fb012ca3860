"""Turns a base language model into a reasoning model, and shows its work.

In a notebook or a script, ``import reasoning as r`` and then::

    run = r.run(r.read("experiments/r1_tiny.gin", {"clipped.clip_high": 0.2}), out="runs/r1_tiny")
    run = r.open("runs/r1_tiny")                # again later: a mapping from stages to what they left
    r.summary(run)                              # what the command "reasoning report" prints

    zero = run["zero"]
    zero.results                                # a few final numbers
    zero.metrics()                              # a row a step, named as in TRL: reward, completions/mean_length, ...
    zero.rollouts(step=12)                      # a pyarrow table: prompts, completions, rewards, log-probabilities
    zero.probes()                               # the answers to the same few questions as it learnt
    run["exam"].scores().checkpoints["zero"]    # means with intervals; .replies(): what was answered, row by row
    run["cold_data"].records()

    model = zero.model()                        # with .config, .params and .tokenizer
    model.generate(["3+4-5?"], samples=4)       # four replies to each question
    model.vote("3+4-5?", samples=16)            # the answers of sixteen, counted
    r.load("checkpoints/smollm2", chat="smollm_2").generate(["What is 2+2?"])   # what reasoning convert wrote

    r.sweep(r.read("experiments/sweeps/r1_zero_clip.gin"), out="runs/clip").table()

Stages are dataclasses, so a variation is ``dataclasses.replace``. A reward is a function of the form that TRL's users
know, typed where you are::

    def brief(completions, **columns):          # columns: answer, kind, the problem's own ...
        return [1 / (1 + len(text)) for text in completions]

    file = r.read("experiments/r1_tiny.gin")
    strict = r.find("rewards.accuracy.strict")  # what files call @rewards.accuracy.strict
    mine = replace(file.part("zero"), name="mine", rewards=(strict, brief), reward_weights=(1.0, 0.1))
    r.run(replace(file.part("run"), stages=(mine,)), out="runs/r1_tiny")["mine"].metrics()

What is in that folder already (here the base) isn't computed again. A stage is known by its settings and the source of
its functions: of a module's functions the whole file counts, of a notebook's the function and every variable and helper
of the session that it reads. Change one, and the stage runs anew under another hash. What can't be told apart (a
function that closes over variables, one that reads an array of the session) is refused with what to do instead.

Importing this package imports nothing else; subpackages (``r.stages``, ``r.pipeline``, ...) load at their first use.
"""

import importlib
import os
import pkgutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reasoning.data.chat.format import ChatFormat
    from reasoning.experiment.drafts import Overrides
    from reasoning.experiment.reader import Experiment
    from reasoning.pipeline.run import Run
    from reasoning.report.sweep import SweepResult
    from reasoning.use.loaded_model import LoadedModel
    from reasoning.use.run_folder import RunFolder


def read(path: str | os.PathLike[str], overrides: "Overrides" = ()) -> "Experiment":
    """Reads and checks an experiment file; ``overrides`` are ``{'run.seed': 3}`` or texts of the command line.

    Raises InputError with file, line and a caret for anything that is wrong.
    """
    from reasoning.experiment.reader import read_experiment

    return read_experiment(os.fspath(path), overrides)


def run(
    experiment: "Experiment | Run",
    out: str | os.PathLike[str],
    only: Sequence[str] = (),
    again: str = "",
    strict_code: bool = False,
    jobs: int = 1,
) -> "RunFolder":
    """Runs an experiment in the folder ``out``, skips what is finished there, and opens the result.

    ``only`` names the only stages to run, ``again`` one that is done anew with everything made from it; with
    ``strict_code`` results of other code or libraries are refused. Up to ``jobs`` stages that don't need each other are
    done at the same time, on a CPU, in processes of their own, with the same results. Raises InputError for bad input
    and Interrupted when a signal asked to stop; the same call then goes on.
    """
    from pathlib import Path

    from reasoning.cli.progress import display
    from reasoning.pipeline.run import RunOptions
    from reasoning.pipeline.run_experiment import run_experiment
    from reasoning.use.run_folder import open_run

    with display() as watcher:
        run_experiment(experiment, Path(out), watcher, RunOptions(tuple(only), again, strict_code, jobs=jobs))
    return open_run(out)


def sweep(
    experiment: "Experiment", out: str | os.PathLike[str], strict_code: bool = False, jobs: int = 1
) -> "SweepResult":
    """Runs a sweep file in the folder ``out``, skips what is finished there, and opens the result: its ``table()``.

    Up to ``jobs`` stages, of whichever runs, are done at the same time on a CPU. A run that fails doesn't stop the
    others; ``failed()`` of the result says why it did. Raises InputError for bad input and Interrupted when a signal
    asked to stop; the same call then goes on.
    """
    from pathlib import Path

    from reasoning.cli.progress import display
    from reasoning.pipeline.sweeps.run_sweep import run_sweep
    from reasoning.report.sweep import SweepResult, write_table

    return SweepResult(run_sweep(experiment, Path(out), display, write_table, strict_code, jobs=jobs))


def open(path: str | os.PathLike[str]) -> "RunFolder":
    """Opens the folder of a run: ``open('runs/zero')['zero'].metrics()``. Raises InputError where it isn't one."""
    from reasoning.use.run_folder import open_run

    return open_run(path)


def load(path: str | os.PathLike[str], chat: "str | ChatFormat" = "") -> "LoadedModel":
    """A model to be asked: ``RUN/STAGE``, or a folder or file of no run, such as ``reasoning convert`` writes or reads.

    ``chat`` is a format, or the name of one of ``data.chat.formats``; without it what the run's settings say counts.
    Raises InputError where there is no such model, and for a format that its tokenizer doesn't know.
    """
    from reasoning.use.find_model import find_model

    return find_model(os.fspath(path), chat)


def summary(run: "RunFolder | str | os.PathLike[str]") -> None:
    """Prints what a run has found, as ``reasoning report`` does: a sentence a stage, scores with intervals, replies.

    Raises InputError where a path isn't that of a run.
    """
    from pathlib import Path

    from reasoning.cli.progress import output
    from reasoning.findings.facts import gather
    from reasoning.report.terminal import show

    show(output(), gather(Path(run) if isinstance(run, str | os.PathLike) else run.path))


def find(name: str) -> Any:
    """What an experiment file calls ``@name``: a function, a class, of this package or of any importable module.

    Raises InputError for a name that leads nowhere.
    """
    from reasoning.experiment.references import find_object

    return find_object(name.removeprefix("@"))


def __getattr__(name: str) -> Any:
    if name in _subpackages():
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(["find", "load", "open", "read", "run", "summary", "sweep", *_subpackages()])


def _subpackages() -> set[str]:
    return {module.name for module in pkgutil.iter_modules(__path__) if module.ispkg}
