"""An experiment of four stages, two of which need the first alone, that wait, count, fail or die as they are told."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jax

from reasoning.core.artifact import Artifact, Outcome
from reasoning.core.progress import Progress
from reasoning.experiment.reader import read_experiment
from reasoning.pipeline.run import RunOptions, Watcher
from reasoning.pipeline.run_experiment import run_experiment
from reasoning.stages.stage import Context

MODULE = '''
import errno, multiprocessing, os, signal, time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from reasoning.core.artifact import NOT_HASHED, Outcome
from reasoning.core.errors import InputError
from reasoning.core.files import write_atomic
from reasoning.core.progress import Progress
from reasoning.stages.stage import Stage
from reasoning.training.preemption import Interrupted

doom = Path(__file__).parent / "told" / "reading"
if multiprocessing.parent_process() is not None and doom.exists():  # in a process that was given a stage of it
    number, left = doom.read_text().split()
    doom.write_text(f"{number} {int(left) - 1}") if int(left) > 1 else doom.unlink()
    os.kill(os.getpid(), int(number))


@dataclass(frozen=True)
class Work:
    """Adds up its parents; does first what the file of its name in ``told`` says, if there is one."""

    name: str = ""
    start: Stage | None = None
    others: tuple[Stage, ...] = ()
    steps: int = 1
    told: str = field(default="", metadata=NOT_HASHED)

    def run(self, inputs, out, context):
        told = Path(self.told)
        context.report(Progress(self.name, 0, self.steps))
        (told / f"{self.name}.began").touch()
        order = told / self.name
        if order.exists():
            self.obey(*order.read_text().split(), told, out, context)
        parents = ([inputs["start"]] if self.start else []) + list(inputs.get("others", ()))
        total = self.steps + sum(int((parent.path / "sum").read_text()) for parent in parents)
        (out / "sum").write_text(str(total))
        context.report(Progress(self.name, self.steps, self.steps))
        return Outcome("results", {"sum": total})

    def obey(self, order, what, told, out, context):
        if order == "meet":  # waits until another stage has begun, which it never does where stages take turns
            wait_for(told / f"{what}.began")
        elif order == "count":  # one after the other, as training does
            place = out / "place"
            done = int(place.read_text()) if place.exists() else 0
            for step in range(done + 1, int(what) + 1):
                write_atomic(place, str(step))
                time.sleep(0.02)
                (told / f"{self.name}.counts").touch()
                number = context.stop(step)
                if number is not None:
                    raise Interrupted(number)
        elif order == "fail":
            wait_for(told / f"{what}.counts")
            raise InputError(f"{self.name} can't be done")
        elif order == "raise":
            raise OSError(errno.ENOSPC, "No space left on device") if what == "OSError" else RuntimeError("so")
        elif order == "damage":  # the file that says what the run is, before others have read it
            with open(out.parents[1] / "resolved.gin", "a") as file:
                file.write("# more")
        elif order == "alone":  # kills the processes that have nothing to do
            for stat in Path("/proc").glob("[0-9]*/stat"):
                with suppress(OSError):  # others may go while they are looked at
                    pid, parent = int(stat.parent.name), int(stat.read_text().rpartition(")")[2].split()[1])
                    if parent == os.getppid() and pid != os.getpid():
                        os.kill(pid, signal.SIGKILL)
                        while stat.read_text():  # until all of its threads are gone, and its pipes with them
                            time.sleep(0.01)
        elif order == "die":
            os.kill(os.getpid(), getattr(signal, what))
            time.sleep(60)


def wait_for(file):
    end = time.monotonic() + 60
    while not file.exists():
        if time.monotonic() > end:
            raise InputError(f"{file} never came")
        time.sleep(0.01)
'''
FILE = """
base = @{module}.Work
base.told = {told!r}
left = base
left.start = base
right = left
right.steps = 2
both = base
both.others = (left, right)
run = @pipeline.Run
run.stages = (both,)
run.cpu_devices = {devices}
"""


@dataclass(frozen=True)
class Artless:
    """A stage of a run that no file describes; it tells which process did it."""

    name: str = ""

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Outcome:
        """See ``stages.stage.Stage``."""
        return Outcome("results", {"process": os.getpid()})


class TwoSides:
    """An experiment whose left and right need base alone, and what a run of it says."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out, self.told = folder, folder / "out", folder / "told"
        self.told.mkdir()
        self.reports: list[Progress] = []
        self.notes: list[str] = []
        self.warnings: list[str] = []
        module = f"side_by_side_{abs(hash(str(folder)))}"
        (folder / f"{module}.py").write_text(MODULE)
        self.file = folder / "both.gin"
        self.file.write_text(FILE.format(module=module, told=str(self.told), devices=jax.device_count()))

    def tell(self, **orders: str) -> None:
        """What stages do when they are run."""
        for stage, order in orders.items():
            (self.told / stage).write_text(order)

    def doom(self, number: int, count: int) -> None:
        """So many processes that are given a stage get this signal while they read what it is."""
        (self.told / "reading").write_text(f"{number} {count}")

    def run(self, out: str = "out", jobs: int = 2) -> dict[str, Artifact]:
        """Runs it with so many jobs; what is said is kept."""
        self.reports, self.notes, self.warnings = [], [], []
        options = RunOptions(jobs=jobs)
        return run_experiment(read_experiment(self.file), self.folder / out, self.watcher(), options)

    def watcher(self) -> Watcher:
        """One that remembers."""
        return Watcher(self.reports.append, self.notes.append, self.warnings.append)

    def files(self, out: str) -> dict[str, bytes]:
        """What a run has left, but for what tells when and where it ran."""
        files = [path for path in (self.folder / out).rglob("*") if path.is_file() and path.name != ".lock"]
        return {str(path.relative_to(self.folder / out)): path.read_bytes() for path in files}
