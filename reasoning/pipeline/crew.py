"""Processes that do stages side by side on this machine's CPU, and what they and the one who gives them work say.

Each is forked from a process that has the imports and no threads, does one stage at a time and tells how it goes. It
holds the run's folder locked as long as it lives, and ends when the one who gives it work does.
"""

import gc
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing import connection, reduction
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Self

import jax

from reasoning.core.contents import Memory
from reasoning.core.errors import InputError
from reasoning.core.mesh import build_mesh
from reasoning.core.parent import end_with_parent
from reasoning.core.sealed import sealed_text
from reasoning.experiment.reader import read_experiment
from reasoning.experiment.references import importable
from reasoning.pipeline import graph as graphs
from reasoning.pipeline.devices import keep_freed_memory
from reasoning.pipeline.environment import changed_settings
from reasoning.pipeline.folder import RESOLVED, is_text
from reasoning.pipeline.hang_watch import STOOD_STILL, hang_watch
from reasoning.pipeline.identity import Identity
from reasoning.pipeline.run import Run, Watcher
from reasoning.pipeline.stage_work import StageWork, context_of, finished_artifact
from reasoning.pipeline.workplace import Workplace
from reasoning.training.preemption import Interrupted, Preemption
from reasoning.training.profiling import Profile

Said = Literal["begun", "report", "note", "warn", "ended", "failed", "stopped"]
"""What is said of a stage: that it begins, a progress, a line; its end, by which error it failed, by which signal."""

_SETTINGS = (
    "jax_platforms",
    "jax_num_cpu_devices",
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
)
"""JAX's settings that change no bit, and that all processes have alike."""

_PATIENCE = 10.0
"""Seconds in which a process without work ends by itself."""

_AGAIN = 2
"""So often a stage whose process is gone before it began is given to another one."""


@dataclass(frozen=True)
class Handed:
    """A run as other processes need it: its folder, whose ``resolved.gin`` holds its ``text``, or else ``run`` itself.

    ``modules`` is where the experiment's own modules lie.
    """

    out: Path
    artifacts: Path
    known: dict[str, Identity]
    memory: Memory
    profile: Profile
    text: str = ""
    modules: Path = Path()
    run: Run | None = None

    def __post_init__(self) -> None:
        """Raises InputError for what can't be sent to another process."""
        try:
            told = "it names something of the session itself" if b"__main__" in pickle.dumps(self) else ""
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            told = str(error)
        if told:
            raise InputError(
                f"the run can't be handed to other processes: {told}; write it as a file, with its functions in a "
                "module, or run it without jobs"
            )


@dataclass(frozen=True, eq=False)
class Job:
    """A stage of a run, to be done once all that it ``needs`` is; stages are told apart by their whole hashes."""

    run: Handed
    stage: str
    hash: str
    needs: frozenset[str]


@dataclass
class _Worker:
    process: BaseProcess
    line: Connection
    job: Job | None = None
    begun: bool = False
    lost: int = 0
    knows: set[Path] = field(default_factory=set)

    def give(self, job: Job, lost: int = 0) -> None:
        if job.run.out not in self.knows:
            self.line.send(job.run)
            self.knows.add(job.run.out)
        self.line.send((job.run.out, job.stage))
        self.job, self.begun, self.lost = job, False, lost


class Crew:
    """``size`` processes, there within ``with``; each keeps the lock ``held``, a file's descriptor, as its own."""

    def __init__(self, size: int, held: int) -> None:
        self._size, self._held = size, held
        self._workers: list[_Worker] = []
        self._stopping = False

    def __enter__(self) -> Self:
        multiprocessing.get_context("forkserver").set_forkserver_preload([__name__, "reasoning.stages"])
        self._workers = [self._started() for _ in range(self._size)]
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self._workers:
            if worker.job is not None:
                worker.process.kill()
            worker.line.close()
        for worker in self._workers:
            worker.process.join(_PATIENCE)
            if worker.process.exitcode is None:
                worker.process.kill()
                worker.process.join()

    @property
    def idle(self) -> bool:
        """Whether one of them has nothing to do."""
        return any(worker.job is None for worker in self._workers)

    @property
    def busy(self) -> bool:
        """Whether one of them is at work."""
        return any(worker.job is not None for worker in self._workers)

    def give(self, job: Job) -> None:
        """Gives a job to one that has none."""
        self._give(next(number for number, each in enumerate(self._workers) if each.job is None), job)

    def hear(self, waiting: AbstractContextManager[None] | None = None) -> tuple[Job, Said, Any]:
        """The next that one of them says of its job; ``waiting`` is held until there is something to be heard.

        One that is gone has failed, or has its job done by another if it hadn't begun; another takes its place.
        """
        lines = {worker.line: worker for worker in self._workers if worker.job is not None}
        with waiting or nullcontext():
            ready = connection.wait(list(lines))
        worker = next(worker for line, worker in lines.items() if line in ready)
        job = worker.job
        assert job is not None
        try:
            said, told = worker.line.recv()
        except (EOFError, ConnectionError):
            said, told = self._gone(worker, job)
        worker.begun |= said == "begun"
        if said in ("ended", "failed", "stopped"):
            worker.job = None
        return job, said, told

    def ask_to_stop(self) -> None:
        """Asks those at work to save and leave, as SIGTERM does."""
        self._stopping = True
        for worker in self._workers:
            if worker.job is not None and worker.process.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(worker.process.pid, signal.SIGTERM)

    def _gone(self, worker: _Worker, job: Job) -> tuple[Said, Any]:
        """What became of the job of one that is gone, in whose place another is now."""
        place, code = self._workers.index(worker), _exit_code(worker.process)
        self._replace(place)
        if not worker.begun and self._stopping:
            return "stopped", signal.SIGTERM
        if worker.begun or worker.lost == _AGAIN or code == STOOD_STILL:
            return "failed", _failure(job, code)
        self._give(place, job, worker.lost + 1)
        return "warn", f"{job.stage}: its process {_end_of(code)} before it began; another one does it"

    def _give(self, place: int, job: Job, lost: int = 0) -> None:
        try:
            self._workers[place].give(job, lost)
        except ConnectionError:  # It was killed while it had nothing to do.
            self._replace(place)
            self._workers[place].give(job, lost)

    def _replace(self, place: int) -> None:
        self._workers[place].line.close()
        self._workers[place] = self._started()

    def _started(self) -> _Worker:
        for _ in range(_AGAIN):
            with suppress(EOFError, OSError):
                return self._start()
            time.sleep(0.1)  # It was killed, or what starts them, which may be there a moment longer.
        return self._start()

    def _start(self) -> _Worker:
        context = multiprocessing.get_context("forkserver")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs,))
        with _no_script():
            process.start()
        theirs.close()
        reduction.send_handle(ours, self._held, process.pid)
        values = jax.config.values
        ours.send(changed_settings() | {name: values[name] for name in _SETTINGS})
        return _Worker(process, ours)


@contextmanager
def _no_script() -> Iterator[None]:
    """Within it a new process doesn't run the caller's script again, as it would where that has no guard."""
    own = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = own


def _exit_code(process: BaseProcess) -> int:
    process.join()
    return process.exitcode or 0


def _end_of(code: int) -> str:
    """How a process ended whose exit code it was, by Python's convention."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


def _failure(job: Job, code: int) -> BaseException:
    """What a job failed of whose process is gone."""
    if code == STOOD_STILL:
        return SystemExit(STOOD_STILL)
    memory = " (out of memory? fewer --jobs take less)" if code == -signal.SIGKILL else ""
    return InputError(f"stage {job.stage}: its process {_end_of(code)}{memory}; the same command goes on from there")


# -- in such a process -------------------------------------------------------------------------------------------------


def _work(line: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; whoever gave the work asks to stop.
    end_with_parent()
    reduction.recv_handle(line)
    for name, value in line.recv().items():
        jax.config.update(name, value)
    keep_freed_memory()
    gc.freeze()  # What imports have made stays.
    runs: dict[Path, _RunHere] = {}
    with suppress(EOFError), Preemption() as preemption:
        while True:
            asked = line.recv()
            if isinstance(asked, Handed):
                runs[asked.out] = _RunHere(asked)
            else:
                out, stage = asked
                runs[out].do(stage, line, preemption)


@dataclass(frozen=True)
class _RunHere:
    """A run that was handed to this process."""

    handed: Handed

    def do(self, stage: str, line: Connection, preemption: Preemption) -> None:
        """Does a stage and says so, whatever comes of it."""
        talking = threading.Lock()

        def say(said: Said) -> Callable[[Any], None]:
            def tell(told: Any) -> None:
                with talking:
                    line.send((said, told))

            return tell

        watcher = Watcher(say("report"), say("note"), say("warn"))
        try:
            run, workplace = self.opened
            with hang_watch(run.hang_minutes, watcher.warn) as beat:
                mesh = build_mesh(run.mesh)
                context = context_of(run, workplace, mesh, watcher, preemption, beat, self.handed.profile)
                parents = workplace.graph[stage].parent_names()
                done = {parent: finished_artifact(workplace, parent) for parent in parents}
                say("begun")(None)
                StageWork(workplace, context, watcher.note).do(stage, done)
        except Interrupted as interruption:
            say("stopped")(interruption.signal)
        except Exception as error:
            say("failed")(_carried(error))
        else:
            say("ended")(None)

    @cached_property
    def opened(self) -> tuple[Run, Workplace]:
        """The run as it is read here. Raises InputError where its text is no longer what it was."""
        handed, run = self.handed, self.handed.run
        if run is None:
            file = handed.out / RESOLVED
            if not is_text(file, sealed_text(handed.text)):
                raise InputError(f"{file} was changed while its run was at work; run the same command again")
            with importable(handed.modules):
                run = read_experiment(file).part("run")
        graph = graphs.build_graph(run.stages)
        return run, Workplace(handed.out, graph, handed.known, handed.artifacts, handed.memory)


def _carried(error: Exception) -> Exception:
    """The error as it can be raised in another process; of one of the program's own, with its traceback."""
    notes: Iterable[str] = getattr(error, "__notes__", ())
    told = "" if isinstance(error, InputError) else "".join(traceback.format_exception(error)).rstrip()
    try:
        carried: Exception = pickle.loads(pickle.dumps(error))
    except Exception:
        carried = RuntimeError(f"{type(error).__name__}: {error}")
        for note in notes:
            carried.add_note(note)
    if told:
        carried.add_note(f"in the process of its stage:\n{told}")
    return carried
