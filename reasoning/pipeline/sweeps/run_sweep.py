"""Does the runs of a sweep in one folder of artifacts, each stage once: one after the other, or side by side."""

import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import jax

from reasoning.core.contents import Memory
from reasoning.core.errors import InputError
from reasoning.core.files import lock, sweep_partials
from reasoning.core.mesh import build_mesh
from reasoning.experiment.reader import Experiment
from reasoning.kernels.attention.backends import describe_kernels
from reasoning.pipeline import graph as graphs
from reasoning.pipeline.contents import contents_of, read_memory, write_memory
from reasoning.pipeline.crew import Crew, Job
from reasoning.pipeline.devices import keep_freed_memory, use_cpu_devices
from reasoning.pipeline.folder import finished_folder, unfinished_folder
from reasoning.pipeline.identity import identities
from reasoning.pipeline.mirror import Mirror
from reasoning.pipeline.processes import agree
from reasoning.pipeline.run import RunOptions, Watcher
from reasoning.pipeline.run_stages import SharedByRuns, fetch_stages, run_stages
from reasoning.pipeline.side_by_side import Events, check_jobs, do_side_by_side, handed_of, jobs_of
from reasoning.pipeline.sweeps.arms import ArmRun, SweepPlan, arm_title, expand_sweep
from reasoning.pipeline.sweeps.folder import SweepFolder
from reasoning.pipeline.workplace import Workplace
from reasoning.training.preemption import Preemption
from reasoning.training.profiling import Profile

MakeWatcher = Callable[[], AbstractContextManager[Watcher]]
"""Makes a watcher for one run; a new one each, since every run has the same stages."""


@dataclass(frozen=True)
class StageSharing:
    """One stage of a sweep: in how many runs it is, how often it differs, and how many of these are finished."""

    stage: str
    runs: int
    different: int
    finished: int


@dataclass(frozen=True)
class SweepPreview:
    """What a sweep would do; ``contents`` are hashes by path, ``obstacle`` says why this machine can't do it.

    ``leaks`` tell of exam questions that are trained on, where the exam allows it.
    """

    plan: SweepPlan
    stages: tuple[StageSharing, ...]
    contents: Mapping[str, str]
    obstacle: str
    leaks: tuple[str, ...]


def preview_sweep(
    experiment: Experiment, out: Path, processes: int = 1, note: Callable[[str], None] = lambda _: None
) -> SweepPreview:
    """Reads and checks every run as a sweep would, and writes nothing. Raises InputError as a sweep would.

    ``note`` hears of what takes long.
    """
    plan = expand_sweep(experiment)
    use_cpu_devices(plan.runs[0].run.cpu_devices, processes)
    obstacle, memory = "", read_memory(out)
    try:
        workplaces = _workplaces(SweepFolder(out, plan), memory, note)
    except InputError as error:
        obstacle = str(error)
        workplaces = _workplaces(SweepFolder(out, plan), memory, note, fit=False)
    counted: dict[str, dict[str, bool]] = {}
    runs: dict[str, int] = {}
    for workplace in workplaces:
        workplace.check_whole()
        for name, identity in workplace.known.items():
            runs[name] = runs.get(name, 0) + 1
            counted.setdefault(name, {})[identity.hash] = workplace.state(name) == "finished"
    stages = (StageSharing(name, runs[name], len(states), sum(states.values())) for name, states in counted.items())
    known = (identity for workplace in workplaces for identity in workplace.known.values())
    contents = {path: content for identity in known for path, content in identity.contents.items()}
    leaks = dict.fromkeys(leak for workplace in workplaces for leak in workplace.leaks(RunOptions(), note))
    return SweepPreview(plan, tuple(stages), contents, obstacle, tuple(leaks))


def run_sweep(
    experiment: Experiment,
    out: Path,
    watch: MakeWatcher,
    after_run: Callable[[SweepFolder], object],
    strict_code: bool = False,
    processes: int = 1,
    store: str = "",
    jobs: int = 1,
) -> SweepFolder:
    """Completes all runs of a sweep in the folder ``out``; with a ``store`` their stages are copied there, each once.

    So many ``jobs`` are done at the same time, on the CPU: stages of whichever runs have all that they need.

    Every run is read and checked before the first begins; what is finished is skipped. A run that fails is recorded and
    the others go on, except where several processes work together: those can't leave a run at the same point, so its
    error ends the sweep. ``after_run`` is called on process 0 after each run. Raises InputError before any work for bad
    settings, Interrupted when a signal asked to stop, and OSError, since a full disk fails every run.
    """
    plan = expand_sweep(experiment)
    keep_freed_memory()
    use_cpu_devices(plan.runs[0].run.cpu_devices, processes)
    check_jobs(jobs)
    folder = SweepFolder(out, plan)
    with watch() as watcher:
        workplaces = _workplaces(folder, read_memory(out), watcher.note)
    with ExitStack() as held:
        locked = agree(lambda: held.enter_context(lock(out)))
        preemption = held.enter_context(Preemption())
        with watch() as watcher:
            mirror = Mirror(store, watcher)
            agree(lambda: held.enter_context(mirror.open()))
        shared = SharedByRuns(folder.artifacts, preemption, mirror)
        with watch() as watcher:
            told = agree(lambda: _open(folder, workplaces, watcher, strict_code))
        options = RunOptions(strict_code=strict_code)
        work = _Work(folder, shared, options, watch, frozenset(told))
        if jobs > 1:
            _do_all_side_by_side(work, workplaces, after_run, jobs, locked)
        else:
            _do_all(work, workplaces, after_run)
    return folder


@dataclass(frozen=True)
class _Work:
    """What every run needs; ``told`` are warnings that were given for all of them and aren't repeated."""

    folder: SweepFolder
    shared: SharedByRuns
    options: RunOptions
    watch: MakeWatcher
    told: frozenset[str]


def _workplaces(folder: SweepFolder, memory: Memory, note: Callable[[str], None], fit: bool = True) -> list[Workplace]:
    """The workplace of every run; raises InputError for a run that doesn't fit this machine."""
    workplaces = []
    found = agree(lambda: [contents_of(arm_run.graph, memory, note) for arm_run in folder.plan.runs])
    for arm_run, contents in zip(folder.plan.runs, found, strict=True):
        sizes: dict[str, int] = {}
        if fit:
            mesh = build_mesh(arm_run.run.mesh)
            graphs.check_fit(arm_run.graph, mesh)
            describe_kernels(arm_run.run.kernels, mesh)
            sizes = dict(mesh.shape)
        run = arm_run.run
        known = identities(arm_run.graph, run.seed, sizes, arm_run.experiment, run.kernels, contents)
        workplaces.append(Workplace(folder.run_path(arm_run), arm_run.graph, known, folder.artifacts, memory))
    return workplaces


def _open(folder: SweepFolder, workplaces: Sequence[Workplace], watcher: Watcher, strict: bool) -> list[str]:
    """Makes the folders of all runs ready, all checks first; returns the warnings, each given once."""
    told: dict[str, str] = {}

    def warn(text: str, where: Path = folder.path) -> None:
        # The same change in the settings of many runs is one piece of news.
        if text.replace(str(where), "") not in told:
            told[text.replace(str(where), "")] = text
            watcher.warn(text)

    sweep_partials(folder.path)
    write_memory(folder.path, workplaces[0].memory)
    runs = [each.run for each in folder.plan.runs]
    for kernels in dict.fromkeys(describe_kernels(run.kernels, build_mesh(run.mesh)) for run in runs):
        watcher.note(f"kernels: {kernels}")
    for workplace in workplaces:
        workplace.check_environment(strict, warn)
        for leak in workplace.leaks(RunOptions(), watcher.note):
            warn(leak)
    strangers = folder.strangers()
    if strangers:
        warn(f"{folder.path} also holds runs that are not in this sweep; they stay: {', '.join(strangers)}")
    folder.keep_plan(warn)
    for workplace, arm_run in zip(workplaces, folder.plan.runs, strict=True):
        quiet = replace(watcher, warn=lambda text, workplace=workplace: warn(text, workplace.out))
        workplace.open(RunOptions(strict_code=strict), quiet, arm_run.text)
    return list(told.values())


def _do_all(work: _Work, workplaces: Sequence[Workplace], after_run: Callable[[SweepFolder], object]) -> None:
    def tell() -> None:
        after_run(work.folder)

    failed: dict[str, str] = {}
    runs, names = work.folder.plan.runs, _names(work.folder.plan)
    for number, (arm_run, workplace) in enumerate(zip(runs, workplaces, strict=True), start=1):
        name = names[number - 1]
        with work.watch() as watcher:
            if agree(lambda workplace=workplace: _is_done(workplace)):
                watcher.note(f"{name}: already finished (run {number} of {len(runs)})")
                watcher = replace(watcher, note=lambda text: None)
            else:
                watcher.note(f"{name}: run {number} of {len(runs)}")
            _do_one(work, arm_run, workplace, watcher, failed)
        agree(tell)


def _do_one(work: _Work, arm_run: ArmRun, workplace: Workplace, watcher: Watcher, failed: dict[str, str]) -> None:
    """One run; where it fails, the record of it and, in ``failed``, the hash of the stage that did."""
    hopeless = [stage for stage, identity in workplace.known.items() if identity.hash in failed]
    if hopeless:
        message = f"{hopeless[0]} failed for another run too: {failed[workplace.known[hopeless[0]].hash]}"
        work.folder.keep_failure(arm_run, message)
        watcher.warn(message)
        return
    agree(lambda: work.folder.forget_failure(arm_run))
    warn = watcher.warn
    quiet = replace(watcher, warn=lambda text: None if text in work.told else warn(text))
    try:
        run_stages(arm_run.run, workplace.out, quiet, work.options, arm_run.experiment, arm_run.text, work.shared)
    except OSError:
        raise
    except Exception as error:
        if jax.process_count() > 1:
            raise
        message = _failure(error, warn)
        work.folder.keep_failure(arm_run, message)
        begun = [stage for stage in workplace.known if workplace.state(stage) == "begun"]
        failed.update({workplace.known[stage].hash: message for stage in begun[:1]})


def _failure(error: BaseException, warn: Callable[[str], None]) -> str:
    """Why a run failed, in a line; ``warn`` hears more of it."""
    known = isinstance(error, InputError)
    message = str(error) if known else f"{type(error).__name__}: {error}"
    shown = "".join(traceback.format_exception(error)).rstrip()
    told = [message, *getattr(error, "__notes__", ())] if known else [shown]
    warn("\n".join(["this run failed, the others go on:", *told]))
    return message


def _do_all_side_by_side(
    work: _Work, workplaces: Sequence[Workplace], after_run: Callable[[SweepFolder], object], jobs: int, locked: int
) -> None:
    """All runs at once, each stage as soon as what it needs is done."""
    runs = {workplace.out: run for run, workplace in zip(work.folder.plan.runs, workplaces, strict=True)}
    names = dict(zip(runs, _names(work.folder.plan), strict=True))
    having = _having(workplaces)
    failed: dict[str, str] = {}
    with work.watch() as watcher:
        work.shared.mirror.watcher = watcher
        due = _due(work, workplaces, watcher)

        def watcher_of(job: Job) -> Watcher:
            name = names[job.run.out]
            return Watcher(
                report=lambda progress: watcher.report(replace(progress, stage=f"{name}: {progress.stage}")),
                note=lambda text: watcher.note(f"{name}: {text}"),
                warn=lambda text: None if text in work.told else watcher.warn(f"{name}: {text}"),
            )

        def begins(job: Job) -> None:
            work.shared.mirror.follow(unfinished_folder(job.run.artifacts, job.stage, job.hash))

        def ended(job: Job) -> None:
            work.shared.mirror.publish(finished_folder(job.run.artifacts, job.stage, job.hash))
            # A stage that thousands of runs share isn't told in each of them at once.
            for workplace in having[job.hash]:
                if workplace.out == job.run.out or _is_done(workplace):
                    workplace.write_run()
            if any(map(_is_done, having[job.hash])):
                after_run(work.folder)

        def failure(job: Job, error: BaseException) -> None:
            if isinstance(error, OSError) or not isinstance(error, Exception):
                raise error
            failed[job.hash] = _failure(error, watcher_of(job).warn)

        done = {each.known[name].hash for each in workplaces for name in each.known if each.state(name) == "finished"}
        if due:
            with Crew(min(jobs, len(due)), locked) as crew:
                do_side_by_side(crew, due, done, Events(watcher_of, begins, ended, failure), work.shared.preemption)
    _keep_failures(work.folder, runs, workplaces, failed)
    after_run(work.folder)


def _due(work: _Work, workplaces: Sequence[Workplace], watcher: Watcher) -> list[Job]:
    """What there is to do, each stage once however many runs have it; failures of before are forgotten."""
    due: dict[str, Job] = {}
    runs, names = work.folder.plan.runs, _names(work.folder.plan)
    for number, (arm_run, workplace) in enumerate(zip(runs, workplaces, strict=True), start=1):
        fetch_stages(work.shared.mirror, workplace)
        if _is_done(workplace):
            watcher.note(f"{names[number - 1]}: already finished (run {number} of {len(runs)})")
        work.folder.forget_failure(arm_run)
        handed = handed_of(workplace, arm_run.run, Profile(), arm_run.experiment, arm_run.text)
        for job in jobs_of(
            workplace, handed, [name for name in workplace.graph if workplace.state(name) != "finished"]
        ):
            due.setdefault(job.hash, job)
    return list(due.values())


def _keep_failures(
    folder: SweepFolder, runs: Mapping[Path, ArmRun], workplaces: Sequence[Workplace], failed: Mapping[str, str]
) -> None:
    """Records why a run isn't done, which may be that a stage failed for another."""
    told: set[str] = set()
    for workplace in workplaces:
        hopeless = next((name for name in workplace.graph if workplace.known[name].hash in failed), None)
        if hopeless is not None:
            workplace.write_run()
            digest = workplace.known[hopeless].hash
            again = f"{hopeless} failed for another run too: " if digest in told else ""
            folder.keep_failure(runs[workplace.out], f"{again}{failed[digest]}")
            told.add(digest)


def _having(workplaces: Sequence[Workplace]) -> dict[str, list[Workplace]]:
    """Which runs have a stage, by its hash."""
    having: dict[str, list[Workplace]] = {}
    for workplace in workplaces:
        for identity in workplace.known.values():
            having.setdefault(identity.hash, []).append(workplace)
    return having


def _names(plan: SweepPlan) -> list[str]:
    """What messages call the runs, in their order."""
    titles = {arm.label: arm_title(arm) for arm in plan.arms}
    return [f"{titles[run.arm]}, seed {run.seed}" for run in plan.runs]


def _is_done(workplace: Workplace) -> bool:
    return all(workplace.state(stage) == "finished" for stage in workplace.known)
