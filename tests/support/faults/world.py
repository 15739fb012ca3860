"""Where rounds take place: a finished run to compare with, what it did to its folder, and folders to attack."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from miniature import EXPERIMENT, ROOT, content, graph

from faults.inside import Plan
from reasoning.core.files import write_atomic

PATIENCE = 400.0
"""Seconds after which a process counts as hung, on a machine that others share."""

_ON_THE_WAY = ("checkpoints", "best", "references", "parts", "pieces")


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit status (None: it hung) and what it printed."""

    code: int | None
    out: str
    error: str

    def told(self) -> list[str]:
        """The lines in which it says that something is wrong."""
        lines = (*self.error.splitlines(), *self.out.splitlines())
        words = ("error:", "warning:", "Error reading", "UserWarning", "stopped by", "process ")
        return [line for line in lines if any(word in line for word in words)]


def start(words: Sequence[str], cache: Path) -> "subprocess.Popen[str]":
    """``python -m WORDS`` as users start it, with this cache of compiled programs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_", "REASONING_"))}
    variables = {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")]),
        "PYTHONUTF8": "1",
    }
    command = [sys.executable, "-m", *words]
    return subprocess.Popen(
        command, cwd=ROOT, env=kept | variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process: "subprocess.Popen[str]", patience: float = PATIENCE) -> Ended:
    """Waits for a process, and kills one that hangs."""
    try:
        out, error = process.communicate(timeout=patience)
        return Ended(process.returncode, out, error)
    except subprocess.TimeoutExpired:
        process.kill()
        out, error = process.communicate()
        return Ended(None, out, error)


@dataclass
class World:
    """A finished run ``reference``; ``folder`` holds what it changed and a cache; ``stages`` are those under attack."""

    folder: Path
    stages: tuple[str, ...]
    reference: Path
    known: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def prepare(self, until: float) -> bool:
        """Makes the finished run, a stage a process, or goes on with it until a moment; whether it is whole."""
        wanted = {name for stage in self.stages for name in (*ancestors(stage), stage)}
        for stage in (name for name in graph() if name in wanted):
            if time.monotonic() > until:
                return False
            if self._told(stage).exists():
                continue
            log = self._log(stage)
            log.parent.mkdir(parents=True, exist_ok=True)
            log.unlink(missing_ok=True)
            if left := self.partial(self.reference, stage):  # A stage that was cut off would change less.
                shutil.rmtree(left)
            plan = Plan(str(self.reference), log=str(log))
            end = ended(self.run(self.reference, [*ancestors(stage), stage], plan, self.cache), 3600)
            if end.code != 0:
                raise RuntimeError(f"the uninterrupted run failed: {end.error[-3000:]}")
            write_atomic(self._told(stage), end.out)
        return True

    def _log(self, stage: str) -> Path:
        return self.folder / "changes" / f"{stage}.log"

    def _told(self, stage: str) -> Path:
        return self.folder / "changes" / f"{stage}.txt"

    def run(self, out: Path, stages: Sequence[str], plan: Plan | None, cache: Path, *more: str) -> Any:
        """A process that completes these stages."""
        only = ["--only", ",".join(stages)]
        launcher = ["reasoning"] if plan is None else ["faults.inside", plan.words()]
        return start([*launcher, "run", str(EXPERIMENT), "--out", str(out), *only, *more], cache)

    @cached_property
    def events(self) -> dict[str, list[str]]:
        """By stage: what a process that completes it alone changes in its folder, in order."""
        return {stage: self._log(stage).read_text().splitlines() for stage in self.stages}

    @cached_property
    def seconds(self) -> dict[str, float]:
        """How long each stage took in the uninterrupted run."""
        told = "".join(self._told(stage).read_text() for stage in self.stages)
        return {name: float(took) for name, took in re.findall(r"^(\w+): finished in ([\d.]+) s", told, re.MULTILINE)}

    def fresh(self, case_folder: Path, stage: str) -> Path:
        """A folder in which everything that a stage needs has just been finished."""
        out = case_folder / "out"
        (out / "artifacts").mkdir(parents=True)
        for name in ancestors(stage):
            found = self.finished(self.reference, name)
            shutil.copytree(found, out / "artifacts" / found.name)
        return out

    def finished(self, out: Path, stage: str) -> Path:
        """A finished stage's folder."""
        return next((out / "artifacts").glob(f"{stage}-*"))

    def partial(self, out: Path, stage: str) -> Path | None:
        """An unfinished stage's folder, where there is one."""
        return next((out / "artifacts").glob(f".{stage}-*.partial"), None)

    def differences(self, out: Path, stages: Sequence[str]) -> list[str]:
        """What of these stages isn't as the uninterrupted run left it."""
        wrong = []
        for stage in stages:
            expected = self.known.setdefault(stage, lasting(self.finished(self.reference, stage)))
            folder = next((out / "artifacts").glob(f"{stage}-*"), None)
            found = lasting(folder) if folder else {}
            names = sorted({*expected, *found})
            wrong += [f"{stage}/{name}" for name in names if expected.get(name) != found.get(name)]
        return wrong


def lasting(folder: Path) -> dict[str, Any]:
    """What must be equal of a finished folder: not what it was made under, nor what only an unfinished one needs."""
    return {name: value for name, value in content(folder).items() if not any(part in name for part in _ON_THE_WAY)}


def ancestors(stage: str) -> list[str]:
    """All that a stage is made from, parents first."""
    wanted: dict[str, None] = {}

    def add(name: str) -> None:
        for parent in graph()[name].parent_names():
            add(parent)
            wanted[parent] = None

    add(stage)
    return [name for name in graph() if name in wanted]
