"""A user's own small experiment: a module with stages, and a file that names them."""

import os

import forked
import jax
import pytest

MODULE = '''
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import jax

from reasoning.core.artifact import NOT_HASHED, Outcome
from reasoning.evaluation.results import SAMPLES, Replies, Results, Score, write_results, write_samples
from reasoning.stages.stage import Stage
from reasoning.core.progress import Progress
from reasoning.training.preemption import Interrupted


@dataclass(frozen=True)
class Count:
    """Counts to ``steps``; at step ``at`` it does what the file ``trap`` says, if there is one."""

    name: str = ""
    steps: int = 4
    start: Stage | None = None
    at: int = field(default=2, metadata=NOT_HASHED)
    trap: str = field(default="", metadata=NOT_HASHED)

    def run(self, inputs, out, context):
        place = out / f"place{jax.process_index()}"
        done = int(place.read_text()) if place.exists() else 0
        print("begins at", done, flush=True)
        while done < self.steps:
            done += 1
            time.sleep(0.2 * jax.process_index())  # the others come to the end of a stage after process 0
            place.write_text(str(done))
            context.report(Progress(self.name, done, self.steps, {"loss": 1 / done}))
            if self.trap and Path(self.trap).exists() and done == self.at:
                self.fall(Path(self.trap).read_text())
            stopped = context.stop(done)
            if stopped is not None:
                raise Interrupted(stopped)
        return Outcome("checkpoint" if (out / "checkpoint").exists() else "results", {"steps": done})

    def fall(self, how):
        if how == "raise":
            raise RuntimeError("fell into the trap")
        if how == "wait":
            Path(self.trap + ".waiting").touch()
            while Path(self.trap).exists():
                time.sleep(0.02)
        else:
            os.kill(os.getpid(), getattr(signal, how))

    def plan(self):
        return {"steps": self.steps, "parameters": 118000}


@dataclass(frozen=True)
class Exam:
    """Writes results as the evaluating stage does."""

    name: str = ""
    models: tuple[Stage, ...] = ()

    def run(self, inputs, out, context):
        if jax.process_index() > 0:
            return Outcome("results", {"strict": 0.5})
        names = [artifact.stage for artifact in inputs["models"]]
        write_results(out, Results({name: {"strict": Score(0.5, 0.25, 0.75, 8)} for name in names}))
        rows = [
            Replies(checkpoint=name, problem=0, question="1+1?", answer="2", kind="sum", method="greedy",
                    texts=(name + " says 2",), lengths=(1,), log_probs=(-1.0,), answers=("2",),
                    scores={"strict": (1.0,)})
            for name in names
        ]
        write_samples(out / SAMPLES, rows)
        return Outcome("results", {"strict": 0.5})
'''

FILE = """
run = @pipeline.Run
run.stages = (base, zero, exam)
run.cpu_devices = {devices}
base = @{module}.Count
zero = base
zero.start = base
zero.steps = 6
zero.trap = {trap!r}
exam = @{module}.Exam
exam.models = (base, zero)
"""


class Project:
    """A folder with an experiment, and ways to run it; ``trap`` is the file that makes stage zero misbehave."""

    def __init__(self, folder):
        module = f"counting_{abs(hash(str(folder)))}"
        self.out, self.trap, self.file = folder / "out", folder / "trap", folder / "count.gin"
        (folder / f"{module}.py").write_text(MODULE)
        self.file.write_text(FILE.format(module=module, trap=str(self.trap), devices=jax.device_count()))
        self.arguments = ["run", str(self.file), "--out", str(self.out)]

    def start(self, *more, **variables):
        """The real command in a process of its own, with these environment variables beside the usual ones."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
        environment |= {"JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": "", **variables}
        return forked.start(["reasoning", *self.arguments, *more], environment)

    def artifacts(self):
        """Finished stages and unfinished ones, by the names of their folders without the hash."""
        return sorted(path.name.rsplit("-", 1)[0] for path in (self.out / "artifacts").iterdir())


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(jax.config.values["jax_compilation_cache_dir"]))
    return Project(tmp_path)
