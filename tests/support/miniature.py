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
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from reasoning.core.hashes import hash_tree
from reasoning.experiment.reader import read_experiment
from reasoning.pipeline import graph as graphs
from reasoning.pipeline.run_experiment import run_of

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENT = ROOT / "experiments" / "r1_miniature.gin"
PATIENCE = 1800  # Seconds after which a process counts as hung; machines that tests share with others are slow.
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
    """A folder for one run, and the cache of compiled programs that its processes alone write to."""

    out: Path
    cache: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *more: str, launcher: tuple[str, ...] = ("reasoning", "run"), flags: str = "") -> subprocess.Popen:
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
        # Where tests run in the background SIGINT may be ignored, and a child would inherit that.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", *launcher, str(EXPERIMENT), "--out", str(self.out), *more],
                cwd=ROOT,
                env=kept | variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        finally:
            signal.signal(signal.SIGINT, before)
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


def wait_for(process: subprocess.Popen, reached: Callable[[], bool], what: str) -> None:
    """Looks until ``reached()``; fails where the process ends before."""
    give_up = time.monotonic() + PATIENCE
    while not reached():
        assert process.poll() is None, f"ended with {process.returncode} before {what}: {process.communicate()}"
        assert time.monotonic() < give_up, f"no sign of {what}"
        time.sleep(LOOK)


def pause(process: subprocess.Popen) -> None:
    """Stops a process where it is, with all of its threads; SIGCONT lets it go on."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)


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


def differences(one: Path, other: Path) -> list[str]:
    """Names of all that differs between what two runs have left, or is in one alone."""
    left, right = content(one), content(other)
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
    """A finished run in the folder ``shared``, made by whichever worker asks first, to compare other runs with."""
    out, done = shared / "uninterrupted", shared / "uninterrupted.done"
    with one_at_a_time(shared):
        if not done.exists():
            shutil.rmtree(out, ignore_errors=True)
            run = Miniature(out, copy_cache(shared / "uninterrupted.cache"))
            try:
                run.complete()
            finally:
                run.close()
            keep_cache(run.cache)
            done.touch()
    return out
