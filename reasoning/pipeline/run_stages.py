"""Runs the stages of a run, each once: what is finished is skipped, what was cut off goes on, the rest starts."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from reasoning.core.artifact import Artifact, Outcome, read_artifact
from reasoning.core.errors import InputError
from reasoning.core.files import lock
from reasoning.core.mesh import build_mesh, wait_for_all
from reasoning.core.signatures import function_words
from reasoning.core.user_code import answering_for_users
from reasoning.experiment.reader import Experiment
from reasoning.kernels.attention.backends import describe_kernels
from reasoning.pipeline import graph as graphs
from reasoning.pipeline.bad_rows import bad_rows_of
from reasoning.pipeline.contents import contents_of, read_memory
from reasoning.pipeline.folder import ARTIFACTS
from reasoning.pipeline.functions import check_rewards
from reasoning.pipeline.graph import StageNode
from reasoning.pipeline.hang_watch import Beat, hang_watch
from reasoning.pipeline.identity import Identity, identities
from reasoning.pipeline.mirror import Mirror
from reasoning.pipeline.processes import agree, disagreeing
from reasoning.pipeline.run import Run, RunOptions, Watcher
from reasoning.pipeline.workplace import Workplace
from reasoning.stages.stage import Context
from reasoning.training.preemption import Interrupted, Preemption
from reasoning.training.profiling import PROFILE, profile_of
from reasoning.training.sinks import Labels, check_installed, open_sinks

_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")


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
        agree(lambda: held.enter_context(lock(out)))
        preemption = shared.preemption if shared else held.enter_context(Preemption())
        workplace = Workplace(out, graph, known, artifacts, memory)
        mirror = shared.mirror if shared else Mirror(options.store, watcher)
        mirror.watcher = watcher
        if shared is None:
            agree(lambda: held.enter_context(mirror.open()))
        agree(lambda: _fetch(mirror, workplace, options.again))
        for leak in agree(lambda: workplace.leaks(options, watcher.note)):
            watcher.warn(leak)
        agree(lambda: workplace.open(options, watcher, resolved))
        if shared is None:
            watcher.note(f"kernels: {kernels}")
        beat = held.enter_context(hang_watch(run.hang_minutes, watcher.warn))
        context = Context(
            mesh=mesh,
            seed=run.seed,
            report=_beating(beat, watcher.report),
            warn=watcher.warn,
            stop=_beating(beat, preemption.stop),
            at_once=preemption.at_once,
            checkpoint_every=run.checkpoint_every,
            keep=run.keep,
            keep_every=run.keep_every,
            kernels=run.kernels,
            limits=run.limits,
            profile=profile,
            open_sink=lambda stage, first: open_sinks(
                run.log_to, Labels(out, stage, known[stage].hash), watcher.warn, first
            ),
        )
        return _run_stages(workplace, mirror, context, options.only, watcher.note)


def _fetch(mirror: Mirror, workplace: Workplace, again: str) -> None:
    redone = graphs.downstream(workplace.graph, again) if again else ()
    for name in workplace.graph:
        if name not in redone:
            mirror.fetch(workplace.finished(name), workplace.partial(name))


def _beating(beat: Beat, call: Callable[[_Asked], _Answer]) -> Callable[[_Asked], _Answer]:
    """``call``, which is a sign of progress."""

    def beating(asked: _Asked) -> _Answer:
        beat()
        return call(asked)

    return beating


def _run_stages(
    workplace: Workplace, mirror: Mirror, context: Context, only: tuple[str, ...], note: Callable[[str], None]
) -> dict[str, Artifact]:
    done: dict[str, Artifact] = {}
    for name, node in workplace.graph.items():
        state = agree(lambda name=name: workplace.state(name))
        if state == "finished":
            done[name] = _agreed_artifact(workplace, name)
            note(f"{name}: already finished")
        elif not only or name in only:
            signal = context.stop(0)
            if signal is not None:
                raise Interrupted(signal)
            mirror.follow(workplace.partial(name))
            done[name] = _run_stage(workplace, node, done, context, note)
            mirror.publish(workplace.finished(name))
    return done


def _run_stage(
    workplace: Workplace, node: StageNode, done: Mapping[str, Artifact], context: Context, note: Callable[[str], None]
) -> Artifact:
    with context.at_once():
        agree(lambda: workplace.check_parents(node.name))
        resumed = agree(lambda: workplace.start(node.name))
    if told := agree(lambda: bad_rows_of(node, workplace.partial(node.name))):
        context.warn(f"stage {node.name}: {told}")
    note(f"{node.name}: {'goes on from where it was cut off' if resumed else 'starts'}")
    started = time.monotonic()
    inputs = {
        field: done[names] if isinstance(names, str) else tuple(done[name] for name in names)
        for field, names in node.parents.items()
    }
    own_context = replace(context, seed=workplace.known[node.name].seed)
    try:
        with answering_for_users(), context.at_once():
            outcome = node.stage.run(inputs, workplace.partial(node.name), own_context)
    except Exception as error:
        error.add_note(
            f"stage {node.name} stopped; its folder {workplace.partial(node.name)} stays: the same command goes on "
            "from there, and where a setting must change that can change the result, the stage starts anew beside it"
        )
        raise
    if not isinstance(outcome, Outcome):
        raise InputError(
            f"stage {node.name}: {function_words(type(node.stage).run)} gave {outcome!r:.60}; it must return an "
            "Outcome of reasoning.core.artifact"
        )
    # Finishing renames the folder, in which another process may still be reading or writing.
    wait_for_all(f"{node.name} has run")
    agree(lambda: workplace.finish(node.name, outcome, context.warn))
    note(f"{node.name}: finished in {time.monotonic() - started:.1f} s")
    return _agreed_artifact(workplace, node.name)


def _agreed_artifact(workplace: Workplace, name: str) -> Artifact:
    """A finished artifact as process 0 reads it: on another host the file may not have arrived yet."""

    def describe() -> dict[str, Any]:
        finished = read_artifact(workplace.finished(name))
        return {"kind": finished.kind, "results": dict(finished.results)}

    return Artifact(path=workplace.finished(name), stage=name, hash=workplace.known[name].hash, **agree(describe))


def _check_agreement(known: Mapping[str, Identity]) -> None:
    """Refuses processes that were given different settings, before they wait for each other without end."""
    others = disagreeing({name: identity.hash for name, identity in known.items()})
    if others:
        raise InputError(
            f"processes {', '.join(map(str, others))} have other settings than process 0; start all processes with the "
            "same file, overrides and code"
        )
