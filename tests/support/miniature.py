"""The main job in miniature, run by the real command in processes of its own, and what runs leave, compared.

Nothing here looks inside a running process: progress is what lies in its folder, as anybody on the machine sees it.
"""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import forked
import jax
from orbax.checkpoint import v1 as ocp

from reasoning.core.hashes import hash_tree
from reasoning.experiment.reader import read_experiment
from reasoning.pipeline import graph as graphs
from reasoning.pipeline.run_experiment import run_of

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENT = ROOT / "experiments" / "r1_miniature.gin"
PATIENCE = 1800  # Seconds after which a process counts as hung; machines that tests share with others are slow.
Command = subprocess.Popen[str] | forked.Forked
LOOK = 0.002  # Seconds between two looks at a folder.


@cache
def learning_stages() -> dict[str, int]:
    """The stages that train, in the run's order, and how many steps each takes."""
    return {node.name: vars(node.stage)["steps"] for node in graph().values() if "steps" in vars(node.stage)}


@cache
def graph(*overrides: str) -> graphs.Graph:
    """All stages, parents first."""
    return graphs.build_graph(run_of(read_experiment(EXPERIMENT, overrides)).stages)


@cache
def checkpoint_every() -> int:
    """Steps between two checkpoints."""
    return run_of(read_experiment(EXPERIMENT)).checkpoint_every


@dataclass
class Miniature:
    """A folder for one run, and the cache of compiled programs that its processes alone write to.

    ``experiment`` is another file that includes it. With ``anew`` Python itself is started, as users do, else a process
    is forked.
    """

    out: Path
    cache: Path
    anew: bool = False
    experiment: Path = EXPERIMENT
    started: list[Command] = field(default_factory=list)

    def start(self, *more: str, launcher: tuple[str, ...] = ("reasoning", "run"), flags: str = "") -> Command:
        """The command in a process of its own; ``flags`` are XLA's."""
        ours = ("JAX_", "XLA_", "REASONING_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        variables = {
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(self.cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            # Else the folder's own path enters the keys, and in a copy of the cache nothing is found.
            "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",
            "XLA_FLAGS": flags,
        }
        words = [*launcher, str(self.experiment), "--out", str(self.out), *more]
        if self.anew:
            piped: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            process = subprocess.Popen([sys.executable, "-m", *words], cwd=ROOT, env=kept | variables, **piped)
        else:
            process = forked.start(words, kept | variables)
        self.started.append(process)
        return process

    def complete(self, *more: str, **options: Any) -> tuple[str, str]:
        """Runs the command to its end; what it printed, on stdout and on stderr."""
        process = self.start(*more, **options)
        out, error = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, f"{out[-2000:]}\n{error[-6000:]}"
        return out, error

    def close(self) -> None:
        """Ends whatever a failed test has left running; a launcher's own children too."""
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                try:
                    process.communicate(timeout=60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()


# -- how far a run has come ------------------------------------------------------------------------------------------


def folder_of(out: Path, stage: str) -> Path | None:
    """A stage's folder, finished or not, or None before it has one."""
    found = [path for pattern in (f"{stage}-*", f".{stage}-*.partial") for path in (out / "artifacts").glob(pattern)]
    return found[0] if found else None


def recorded(out: Path, stage: str) -> int:
    """Steps that a stage has on record."""
    folder = folder_of(out, stage)
    try:
        return (folder / "metrics.jsonl").read_bytes().count(b"\n") if folder else 0
    except FileNotFoundError:  # Not begun, or finished and renamed between two looks.
        return 0


def progress(out: Path) -> int:
    """Steps on record in all learning stages together."""
    return sum(recorded(out, stage) for stage in learning_stages())


def wait_for(process: Command, reached: Callable[[], bool], what: str) -> None:
    """Looks until ``reached()``; fails where the process ends before."""
    give_up = time.monotonic() + PATIENCE
    while not reached():
        assert process.poll() is None, f"ended with {process.returncode} before {what}: {process.communicate()}"
        assert time.monotonic() < give_up, f"no sign of {what}"
        time.sleep(LOOK)


def pause(process: Command) -> None:
    """Stops a process where it is, with all of its threads; SIGCONT lets it go on."""
    process.send_signal(signal.SIGSTOP)
    while process.poll() is None and not all(state == "T" for state in _states(process.pid)):
        time.sleep(LOOK)


def _states(pid: int) -> Iterator[str]:
    """What each thread of a process is doing, in Linux's letters."""
    for thread in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):  # It has ended between two looks.
            yield thread.read_text().rpartition(")")[2].split()[0]


def saves_under_way(out: Path) -> list[Path]:
    """Folders of checkpoints that are being written (or were, when their writer died)."""
    partials = out.glob("artifacts/.*.partial/checkpoints/step_*.partial*")
    return [path for path in partials if ".old" not in path.name]


def saved_steps(folder: Path) -> list[int]:
    """Steps of whole checkpoints in a stage's folder, in rising order."""
    names = (re.fullmatch(r"step_(\d+)", path.name) for path in (folder / "checkpoints").glob("step_*"))
    return sorted(int(name[1]) for name in names if name)


def first_step_shown(printed: str, stage: str) -> int | None:
    """The first step that a process did in a stage, as its progress lines tell; None where it did none."""
    line = re.search(rf"^{stage}  (\d+)/\d+", printed, re.MULTILINE)
    return int(line[1]) if line else None


# -- what runs leave -------------------------------------------------------------------------------------------------


def content(out: Path) -> dict[str, object]:
    """Everything that must be equal when a run is: files by their bytes, checkpoints by one hash over their arrays.

    Left out are ``timings.jsonl``, the versions in ``artifact.json``, and the bytes of the storage library's own files.
    """
    found: dict[str, object] = {}
    folders = {path.parent for path in out.rglob("orbax.checkpoint")}
    for folder in folders:
        found[f"arrays of {folder.relative_to(out)}"] = hash_tree(arrays(folder))
        if (folder / "cursor.json").exists():
            found[str((folder / "cursor.json").relative_to(out))] = (folder / "cursor.json").read_bytes()
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        if path.name == "timings.jsonl" or folders.intersection(path.parents):
            continue
        found[str(path.relative_to(out))] = path.read_bytes()
        if path.name == "artifact.json":
            record = json.loads(path.read_bytes())
            record.pop("environments", None)
            found[str(path.relative_to(out))] = record
    return found


def arrays(checkpoint: Path) -> Any:
    """A checkpoint's arrays as the storage library itself reads them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sharding info not provided when restoring")  # It is in the checkpoint.
        return ocp.load(str(checkpoint))


@cache
def lasting_content(out: Path) -> dict[str, object]:
    """The same of a folder that nobody changes any more: it is read once."""
    return content(out)


def differences(lasting: Path, other: Path) -> list[str]:
    """Names of all that differs between what two runs have left, or is in one alone; the first stays as it is."""
    left, right = lasting_content(lasting), content(other)
    return sorted(name for name in {*left, *right} if left.get(name) != right.get(name))


# -- compiled programs and a finished run, shared by all tests ---------------------------------------------------------


def copy_cache(target: Path) -> Path:
    """A cache of compiled programs for one test alone, filled with what earlier runs of the tests have compiled.

    JAX writes entries in place, so a process that may be killed must not write where others read.
    """
    target.mkdir(parents=True, exist_ok=True)
    if store().exists():
        shutil.copytree(store(), target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
    return target


def keep_cache(cache: Path) -> None:
    """Hands on the programs that a run has compiled, once it has ended well."""
    store().mkdir(parents=True, exist_ok=True)
    for entry in cache.iterdir():
        if not (store() / entry.name).exists():
            whole = store() / f".{entry.name}.{os.getpid()}"
            shutil.copyfile(entry, whole)
            os.replace(whole, store() / entry.name)


def store() -> Path:
    """Where compiled programs of the miniature stay from one run of the tests to the next."""
    return Path(jax.config.values["jax_compilation_cache_dir"]) / "miniature"


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Lets one test worker in and makes the others wait."""
    with open(folder / "miniature.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def uninterrupted(shared: Path) -> Path:
    """A finished run in the folder ``shared``, made by whichever worker asks first, to compare other runs with.

    ``REASONING_MINIATURE`` names one that is there already, as ``make r1-miniature`` leaves it.
    """
    if made := os.environ.get("REASONING_MINIATURE"):
        return ROOT / made
    out, done = shared / "uninterrupted", shared / "uninterrupted.done"
    with one_at_a_time(shared):
        if not done.exists():
            shutil.rmtree(out, ignore_errors=True)
            run = Miniature(out, copy_cache(shared / "uninterrupted.cache"), anew=True)
            try:
                run.complete()
            finally:
                run.close()
            keep_cache(run.cache)
            done.touch()
    return out
