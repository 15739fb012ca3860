"""Which stage is done next where several processes do them: one that has all it needs, in the order of the file."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from reasoning.core.errors import InputError
from reasoning.experiment.reader import Experiment
from reasoning.pipeline.crew import Crew, Handed, Job, Said
from reasoning.pipeline.run import Run, Watcher
from reasoning.pipeline.workplace import Workplace
from reasoning.training.preemption import Interrupted, Preemption
from reasoning.training.profiling import Profile


def check_jobs(jobs: int) -> None:
    """Raises InputError for no number of processes, and where several can't share this machine's devices."""
    if jobs < 1:
        raise InputError(f"--jobs {jobs}: give how many stages may be done at the same time, 1 or more")
    if jobs > 1 and (jax.default_backend() != "cpu" or jax.process_count() > 1):
        raise InputError(
            f"--jobs {jobs}: stages are done side by side on the CPU of one host only; an accelerator serves one "
            "process, and a job of several processes has all of them at one stage. Run it without --jobs"
        )


def handed_of(workplace: Workplace, run: Run, profile: Profile, experiment: Experiment | None, text: str) -> Handed:
    """What other processes need to do stages of a run: the ``text`` of its ``resolved.gin``, if it is a file's."""
    modules, own = (Path(), run) if experiment is None else (experiment.path.parent, None)
    return Handed(workplace.out, workplace.artifacts, workplace.known, workplace.memory, profile, text, modules, own)


def jobs_of(workplace: Workplace, handed: Handed, names: Iterable[str]) -> list[Job]:
    """The jobs of a run's stages."""
    known = workplace.known
    needs = {name: frozenset(known[each].hash for each in workplace.graph[name].parent_names()) for name in names}
    return [Job(handed, name, known[name].hash, needs[name]) for name in names]


@dataclass(frozen=True)
class Events:
    """Whoever has jobs done: before each and behind each; ``failed`` raises where all work ends with a failure."""

    watcher: Callable[[Job], Watcher]
    begins: Callable[[Job], None]
    ended: Callable[[Job], None]
    failed: Callable[[Job, BaseException], None]


def do_side_by_side(
    crew: Crew, jobs: Sequence[Job], done: Iterable[str], events: Events, preemption: Preemption
) -> None:
    """Has all jobs done of which what they need gets done; ``done`` are hashes of stages that are finished.

    Raises Interrupted when a signal asked to stop, and what ``events.failed`` raises; those at work then save first.
    """
    try:
        _work_off(crew, list(jobs), set(done), events, preemption)
    except (Interrupted, Exception, SystemExit):
        crew.ask_to_stop()
        while crew.busy:
            job, said, told = crew.hear()
            if said == "failed":
                events.watcher(job).warn(f"{job.stage} stopped too: {told}")
            elif said != "stopped":
                _passed_on(job, said, told, events)
        raise


def _work_off(crew: Crew, waiting: list[Job], finished: set[str], events: Events, preemption: Preemption) -> None:
    while True:
        while crew.idle and (job := next((each for each in waiting if each.needs <= finished), None)):
            number = preemption.stop(0)
            if number is not None:
                raise Interrupted(number)
            waiting.remove(job)
            events.begins(job)
            crew.give(job)
        if not crew.busy:
            return
        job, said, told = crew.hear(preemption.at_once())
        if said == "stopped":  # by somebody else, or by a signal to all that this process hears later
            raise Interrupted(told)
        if said == "failed":
            events.failed(job, told)
        elif _passed_on(job, said, told, events):
            finished.add(job.hash)


def _passed_on(job: Job, said: Said, told: Any, events: Events) -> bool:
    """Passes on what was said of a job that goes on or ended well, and says whether it has ended."""
    if said == "ended":
        events.ended(job)
        return True
    if said == "begun":
        return False
    watcher = events.watcher(job)
    tell = {"report": watcher.report, "note": watcher.note, "warn": watcher.warn}[said]
    tell(told)
    return False
