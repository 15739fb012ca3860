"""Runs the stages of a run, each once: what is finished is skipped, what was cut off goes on, the rest starts."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.files import lock
from reasoning.core.mesh import build_mesh
from reasoning.experiment.reader import Experiment
from reasoning.kernels.attention.backends import describe_kernels
from reasoning.pipeline import graph as graphs
from reasoning.pipeline.contents import contents_of, read_memory
from reasoning.pipeline.crew import Crew, Handed, Job
from reasoning.pipeline.folder import ARTIFACTS
from reasoning.pipeline.functions import check_rewards
from reasoning.pipeline.hang_watch import hang_watch
from reasoning.pipeline.identity import Identity, identities
from reasoning.pipeline.mirror import Mirror
from reasoning.pipeline.processes import agree, disagreeing
from reasoning.pipeline.run import Run, RunOptions, Watcher
from reasoning.pipeline.side_by_side import Events, check_jobs, do_side_by_side, handed_of, jobs_of
from reasoning.pipeline.stage_work import StageWork, context_of, finished_artifact
from reasoning.pipeline.workplace import Workplace
from reasoning.training.preemption import Interrupted, Preemption
from reasoning.training.profiling import PROFILE, profile_of
from reasoning.training.sinks import check_installed


@dataclass(frozen=True)
class SharedByRuns:
    """What the runs of a sweep, done one after the other, share: artifacts, their copy, and who catches signals."""

    artifacts: Path
    preemption: Preemption
    mirror: Mirror


def run_stages(
    run: Run,
    out: Path,
    watcher: Watcher,
    options: RunOptions,
    experiment: Experiment | None = None,
    resolved: str = "",
    shared: SharedByRuns | None = None,
) -> dict[str, Artifact]:
    """Completes a run in the folder ``out`` and returns the finished artifacts by stage, parents first.

    ``resolved`` is the text of the configuration, kept beside the results. ``shared`` is given for a run of a sweep;
    a single run has artifacts of its own in ``out/artifacts``. Every process of a job calls this alike.
    Raises InputError before any work for a graph, options, a mesh, kernels or a folder that can't be used; Interrupted
    when a signal asked to stop, after saving. Whatever a stage raises passes through, and its folder stays to be
    resumed.
    """
    graph = graphs.build_graph(run.stages)
    if options.only and options.again:
        raise InputError("--only and --from exclude each other; what --from makes anew, its later stages need too")
    check_jobs(options.jobs)
    graphs.check_stage_names(graph, options.only, "--only")
    graphs.check_stage_names(graph, (options.again,) if options.again else (), "--from")
    check_installed(run.log_to)
    profile = profile_of(options.profile, out / PROFILE)
    check_rewards(graph)
    mesh = build_mesh(run.mesh)
    graphs.check_fit(graph, mesh)
    kernels = describe_kernels(run.kernels, mesh)
    artifacts = shared.artifacts if shared else out / ARTIFACTS
    memory = read_memory(artifacts.parent)
    contents = agree(lambda: contents_of(graph, memory, watcher.note))
    known = identities(graph, run.seed, dict(mesh.shape), experiment, run.kernels, contents)
    _check_agreement(known)
    with ExitStack() as held:
        locked = agree(lambda: held.enter_context(lock(out)))
        preemption = shared.preemption if shared else held.enter_context(Preemption())
        workplace = Workplace(out, graph, known, artifacts, memory)
        mirror = shared.mirror if shared else Mirror(options.store, watcher)
        mirror.watcher = watcher
        if shared is None:
            agree(lambda: held.enter_context(mirror.open()))
        agree(lambda: fetch_stages(mirror, workplace, options.again))
        for leak in agree(lambda: workplace.leaks(options, watcher.note)):
            watcher.warn(leak)
        agree(lambda: workplace.open(options, watcher, resolved))
        if shared is None:
            watcher.note(f"kernels: {kernels}")
        if options.jobs > 1:
            due = [name for name in graph if workplace.state(name) != "finished" and name in (options.only or graph)]
            if len(due) > 1:
                handed = handed_of(workplace, run, profile, experiment, resolved)
                with Crew(min(options.jobs, len(due)), locked) as crew:
                    return _side_by_side(crew, workplace, handed, due, mirror, watcher, preemption)
        beat = held.enter_context(hang_watch(run.hang_minutes, watcher.warn))
        context = context_of(run, workplace, mesh, watcher, preemption, beat, profile)
        return _one_by_one(StageWork(workplace, context, watcher.note), mirror, options.only)


def fetch_stages(mirror: Mirror, workplace: Workplace, again: str = "") -> None:
    """Brings here what a store has further than this folder, but for what is to be done ``again``."""
    redone = graphs.downstream(workplace.graph, again) if again else ()
    for name in workplace.graph:
        if name not in redone:
            mirror.fetch(workplace.finished(name), workplace.partial(name))


def _one_by_one(work: StageWork, mirror: Mirror, only: tuple[str, ...]) -> dict[str, Artifact]:
    done: dict[str, Artifact] = {}
    workplace = work.workplace
    for name in workplace.graph:
        state = agree(lambda name=name: workplace.state(name))
        if state == "finished":
            done[name] = finished_artifact(workplace, name)
            work.note(f"{name}: already finished")
        elif not only or name in only:
            signal = work.context.stop(0)
            if signal is not None:
                raise Interrupted(signal)
            mirror.follow(workplace.partial(name))
            done[name] = work.do(name, done)
            mirror.publish(workplace.finished(name))
    return done


def _side_by_side(
    crew: Crew,
    workplace: Workplace,
    handed: Handed,
    due: Sequence[str],
    mirror: Mirror,
    watcher: Watcher,
    preemption: Preemption,
) -> dict[str, Artifact]:
    finished = [name for name in workplace.graph if workplace.state(name) == "finished"]
    for name in finished:
        watcher.note(f"{name}: already finished")

    def ended(job: Job) -> None:
        workplace.write_run()
        mirror.publish(workplace.finished(job.stage))

    def failed(job: Job, error: BaseException) -> None:
        raise error

    events = Events(lambda job: watcher, lambda job: mirror.follow(workplace.partial(job.stage)), ended, failed)
    done = [workplace.known[name].hash for name in finished]
    do_side_by_side(crew, jobs_of(workplace, handed, due), done, events, preemption)
    return {name: finished_artifact(workplace, name) for name in workplace.graph if name in (*finished, *due)}


def _check_agreement(known: Mapping[str, Identity]) -> None:
    """Refuses processes that were given different settings, before they wait for each other without end."""
    others = disagreeing({name: identity.hash for name, identity in known.items()})
    if others:
        raise InputError(
            f"processes {', '.join(map(str, others))} have other settings than process 0; start all processes with the "
            "same file, overrides and code"
        )
