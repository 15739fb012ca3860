"""What is sent: the exact commit, and the experiment with every setting spelled out, one file a cell of a sweep."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from launch.commands import answer
from launch.settings import Launch
from reasoning.core.errors import InputError
from reasoning.experiment.reader import Experiment, read_experiment
from reasoning.pipeline.sweeps.arms import expand_sweep

CODE = "code.tar.gz"
_STORES = ("s3://", "gs://")
_NAME_CHARACTERS = 40  # Kubernetes allows 63, and adds its own to ours.


@dataclass(frozen=True)
class Cell:
    """One job: its name, the folder of its results below the launch's, and its experiment file's text."""

    name: str
    out: str
    text: str


@dataclass(frozen=True)
class Shipment:
    """A launch before any target knows of it.

    ``beside`` is the experiment's folder inside the commit, for modules; ``file`` its path there, empty where the
    commit doesn't hold it; ``overrides`` what was given behind its name; ``store`` where copies go, if anywhere.
    """

    name: str
    commit: str
    beside: str
    file: str
    overrides: tuple[str, ...]
    cells: tuple[Cell, ...]
    folder: Path
    store: str = ""


def pack(file: str, overrides: list[str], settings: Launch) -> Shipment:
    """Reads and checks an experiment and the checkout that it is launched from.

    Raises InputError for a wrong file, for changes that no commit holds (unless ``settings.dirty``), and for modules of
    the user's that no commit could bring along.
    """
    experiment = read_experiment(file, overrides)
    name = settings.name or re.sub("[^a-z0-9]+", "-", Path(file).stem.lower()).strip("-")[:_NAME_CHARACTERS]
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", name):
        raise InputError(
            f"{name!r} can't name a job everywhere; give --name: small letters, digits and dashes, a letter first, "
            f"at most {_NAME_CHARACTERS}"
        )
    if settings.store and not settings.store.startswith(_STORES):
        raise InputError(f"--store {settings.store} is no object store; write s3://BUCKET/RUN or gs://BUCKET/RUN")
    top = Path(_git("rev-parse", "--show-toplevel"))
    commit = _commit(settings.dirty)
    beside = Path(file).resolve().parent
    inside = beside.is_relative_to(top)
    if experiment.user_sources and not inside:
        raise InputError(f"{file} uses modules of its own and lies outside {top}; commit both there, then launch")
    own = str(beside.relative_to(top)) if inside else "."
    held = inside and bool(_git("-C", str(top), "ls-tree", "--name-only", commit, f"{own}/{Path(file).name}"))
    return Shipment(
        name=name,
        commit=commit,
        beside=own,
        file=str(PurePosixPath(own, Path(file).name)) if held else "",
        overrides=tuple(overrides),
        cells=_chosen(_cells(experiment, name), settings.cells),
        folder=Path(settings.folder) / name,
        store=settings.store.rstrip("/"),
    )


def write_code(shipment: Shipment) -> None:
    """Writes the archive of the commit beside the launch's files."""
    target = shipment.folder / CODE
    _git("-C", _git("rev-parse", "--show-toplevel"), "archive", "--output", str(target.resolve()), shipment.commit)


def check_plan(file: str, overrides: list[str], on: str) -> str:
    """What ``reasoning plan`` says of the experiment on a topology; InputError where it doesn't fit."""
    command = (sys.executable, "-m", "reasoning", "plan", file, *overrides, "--on", on)
    code, told = answer(command)
    if code:
        raise InputError(
            f"{told.strip()}\n{file} can't be launched on {on} with that plan; change the experiment or the topology, "
            "or give --force"
        )
    return told


def _commit(dirty: bool) -> str:
    changed = _git("status", "--porcelain", "--untracked-files=no")
    if not changed:
        return _git("rev-parse", "HEAD")
    if not dirty:
        first = changed.splitlines()[0].strip()
        raise InputError(f"the checkout has changes that no commit holds ({first}, …); commit them, or give --dirty")
    # A commit of the changes that moves no branch; files that git doesn't know stay out.
    return _git("stash", "create")


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, encoding="utf-8")
    if done.returncode:
        raise InputError(f"git {' '.join(words)}: {done.stderr.strip()}; launch from a checkout of the project")
    return done.stdout.strip()


def _cells(experiment: Experiment, name: str) -> list[Cell]:
    if "sweep" not in experiment.parts:
        return [Cell(name, ".", experiment.resolved(("run",)))]
    runs = expand_sweep(experiment).runs
    return [Cell(f"{name}-{number}", f"cells/{run.arm}/seed-{run.seed}", run.text) for number, run in enumerate(runs)]


def _chosen(cells: list[Cell], numbers: str) -> tuple[Cell, ...]:
    if not numbers:
        return tuple(cells)
    try:
        return tuple(cells[int(number)] for number in numbers.split(",") if number.isdecimal() or int(number))
    except (ValueError, IndexError):
        raise InputError(f"--cells {numbers}: there are {len(cells)}; give numbers from 0, with commas") from None
