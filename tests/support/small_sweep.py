"""A user's small experiment of four stages that compute nothing heavy, to be swept, and ways to run it."""

import os
import zlib
from pathlib import Path

import forked
import jax

from reasoning.experiment.reader import read_experiment
from reasoning.pipeline.sweeps.arms import SweepPlan, expand_sweep

MODULE = '''
import os
import random
import signal
from dataclasses import dataclass, field
from pathlib import Path

from reasoning.core.artifact import NOT_HASHED, Outcome
from reasoning.stages.stage import Stage
from reasoning.core.errors import InputError
from reasoning.core.progress import Progress


@dataclass(frozen=True)
class Corpus:
    name: str = ""
    size: int = 3
    seed: int = 0
    path: str = ""
    log: str = field(default="", metadata=NOT_HASHED)

    def reads(self):
        return (self.path,) if self.path else ()

    def run(self, inputs, out, context):
        note(self, context)
        return Outcome("results", {"size": self.size, "tokens": 1000 * self.size})


@dataclass(frozen=True)
class Train:
    """Its loss is a function of seed, name and settings; told to by the file ``trap``, it misbehaves."""

    name: str = ""
    data: Stage | None = None
    start: Stage | None = None
    rate: float = 0.5
    width: int = 1
    bad_rate: float = -1.0
    weights: tuple[float, ...] = ()
    reward: object = None
    inert: int = 0
    log: str = field(default="", metadata=NOT_HASHED)

    def run(self, inputs, out, context):
        note(self, context)
        if self.rate == self.bad_rate:
            raise InputError(f"stage {self.name}: the last 10 updates were not finite")
        noise = random.Random(f"{context.seed}/{self.name}/{self.rate}").gauss(0, 0.1)
        value = self.rate * self.width + noise + sum(parent.results.get("loss", 0) for parent in inputs.values())
        (out / "checkpoint").mkdir(exist_ok=True)
        return Outcome("checkpoint", {"loss": value}, array_hash=repr(value))


def note(stage, context):
    """Writes down who ran; a trap that names this many lines is sprung: it kills, or waits for a signal."""
    log = Path(stage.log)
    with open(log, "a") as file:
        file.write(f"{stage.name} {context.seed}\\n")
    context.report(Progress(stage.name, 1, 1))
    trap = log.with_name("trap")
    if trap.exists() and str(len(log.read_text().splitlines())) == trap.read_text().split()[0]:
        how = trap.read_text().split()[1]
        trap.unlink()
        if how == "raise":
            raise RuntimeError("fell into the trap")
        os.kill(os.getpid(), getattr(signal, how))


def reward(text):
    return 1.0
'''

FILE = """
run = @pipeline.Run
run.stages = (base, zero, exam)
run.cpu_devices = {devices}
width = 1
corpus = @{module}.Corpus
corpus.log = {log!r}
base = @{module}.Train
base.data = corpus
base.log = {log!r}
zero = base
zero.start = base
zero.data = corpus
zero.width = %width
exam = zero
exam.start = zero
sweep = @pipeline.Sweep
"""


class SweepProject:
    """A folder with an experiment file; ``sweep`` are the lines that say what varies.

    Its runs use so many CPU devices, or (0) those of this process.
    """

    def __init__(self, folder: Path, devices: int = 0) -> None:
        self.devices = devices or jax.device_count()
        self.module = f"swept_{zlib.crc32(str(folder).encode())}"
        self.folder, self.out, self.log, self.trap = folder, folder / "out", folder / "log", folder / "trap"
        (folder / f"{self.module}.py").write_text(MODULE)
        self.file = folder / "sweep.gin"
        self.write("")

    def write(self, sweep: str) -> None:
        """Writes the file anew."""
        text = FILE.format(module=self.module, log=str(self.log), devices=self.devices)
        self.file.write_text(text + sweep)

    def plan(self, sweep: str, overrides: tuple[str, ...] = ()) -> SweepPlan:
        """The plan of a file with these lines."""
        self.write(sweep)
        return expand_sweep(read_experiment(self.file, overrides))

    def ran(self) -> list[str]:
        """Which stages ran since the last call, as ``name seed``, in order."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines

    def tables(self) -> dict[str, bytes]:
        """The bytes of what a sweep has found."""
        return {name: (self.out / name).read_bytes() for name in ("table.md", "table.csv")}

    def arguments(self, *more: str) -> list[str]:
        """The command, after its first word."""
        return ["sweep", str(self.file), "--out", str(self.out), *more]

    def start(self, *more: str, **variables: str) -> forked.Forked:
        """The real command in a process of its own, with these environment variables beside the usual ones."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
        environment |= {"JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": "", **variables}
        return forked.start(["reasoning", *self.arguments(*more)], environment)
