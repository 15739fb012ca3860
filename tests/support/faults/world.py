"""Where rounds take place: a finished run to compare with, what it did to its folder, and folders to attack."""

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import forked
from miniature import EXPERIMENT, ROOT, graph
from quick_compile import QUICK

from faults.contents import lasting, raw
from faults.inside import Plan
from faults.processes import Process, can_fork, start
from reasoning.core.files import write_atomic
from reasoning.experiment.reader import read_experiment
from reasoning.pipeline.run_experiment import run_of

PATIENCE = 400.0
"""Seconds after which a process counts as hung, on a machine that others share."""


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


def ended(process: Process, patience: float = PATIENCE) -> Ended:
    """Waits for a process, and kills one that hangs."""
    came = process.wait(patience)
    if not came:
        process.kill()
        process.wait(PATIENCE)
    out, error = (bytes(printed).decode(errors="replace") for printed in process.printed)
    return Ended(process.returncode if came else None, out, error)


@dataclass
class World:
    """A finished run ``reference``; ``folder`` holds what it changed and a cache; ``stages`` are those under attack.

    With ``anew`` processes are started as users start them, Python too, else forked; ``flags`` are XLA's. ``started``
    are the processes of a round.
    """

    folder: Path
    stages: tuple[str, ...]
    reference: Path
    flags: str = QUICK
    anew: bool = False
    known: dict[Path, dict[str, str]] = field(default_factory=dict)
    started: list[Process] = field(default_factory=list)

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def start(
        self,
        words: Sequence[str],
        cache: Path | None = None,
        anew: bool | None = None,
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> Process:
        """``python -m WORDS`` with a cache of compiled programs, the world's or another, and ``more`` variables."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_", "REASONING_"))
        }
        variables = {
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(cache or self.cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",
            "XLA_FLAGS": self.flags,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")]),
            "PYTHONUTF8": "1",
        }
        anew = self.anew if anew is None else anew
        environment = kept | variables | dict(more)
        if anew or can_fork():
            process = start(words, str(ROOT), environment, anew)
        else:
            process = forked.start(words, environment)
        self.started.append(process)
        return process

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
            end = ended(self.run(self.reference, [*ancestors(stage), stage], plan), 3600)
            if end.code != 0:
                raise RuntimeError(f"the uninterrupted run failed: {end.error[-3000:]}")
            write_atomic(self._told(stage), end.out)
        return True

    @contextmanager
    def home(self, name: str) -> Iterator[Path]:
        """A folder for what rounds of one kind are compared with, which one runner at a time may make."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield folder
        finally:
            os.close(descriptor)

    def _log(self, stage: str) -> Path:
        return self.folder / "changes" / f"{stage}.log"

    def _told(self, stage: str) -> Path:
        return self.folder / "changes" / f"{stage}.txt"

    def run(
        self,
        out: Path,
        stages: Sequence[str],
        plan: Plan | None,
        *more: str,
        cache: Path | None = None,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> Process:
        """A process that completes these stages."""
        only = ["--only", ",".join(stages)]
        launcher = ["reasoning"] if plan is None else ["faults.inside", plan.words()]
        return self.start([*launcher, "run", str(EXPERIMENT), "--out", str(out), *only, *more], cache, more=variables)

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
            expected, folder = self.finished(self.reference, stage), next((out / "artifacts").glob(f"{stage}-*"), None)
            if folder is None:
                wrong.append(f"{stage} is missing")
            elif raw(folder) != raw(expected):  # The bytes of the storage library's own files are others each time.
                wrong += [f"{stage}/{name}" for name in self.unlike(expected, folder)]
        return wrong

    def unlike(self, expected: Path, found: Path) -> list[str]:
        """What isn't equal, of what must be, between a folder that stays as it is and another."""
        unknown = [folder for folder in (expected, found) if folder not in self.known]
        told = dict(zip(unknown, self._contents(unknown), strict=True))
        self.known[expected] = before = self.known.get(expected) or told[expected]
        after = told[found]
        return [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]

    def _contents(self, folders: Sequence[Path]) -> list[dict[str, str]]:
        if not can_fork():
            return [lasting(folder) for folder in folders]
        devices = run_of(read_experiment(EXPERIMENT)).cpu_devices
        end = ended(self.start(["faults.contents", str(devices), *map(str, folders)], anew=False))
        if end.code != 0:
            raise RuntimeError(f"what was left can't be read: {end.error[-3000:]}")
        return json.loads(end.out)


def ancestors(stage: str) -> list[str]:
    """All that a stage is made from, parents first."""
    wanted: dict[str, None] = {}

    def add(name: str) -> None:
        for parent in graph()[name].parent_names():
            add(parent)
            wanted[parent] = None

    add(stage)
    return [name for name in graph() if name in wanted]
