"""One stage done, from its parents' artifacts to its own, whoever decides which one is next."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from jax.sharding import Mesh

from reasoning.core.artifact import Artifact, Outcome, read_artifact
from reasoning.core.errors import InputError
from reasoning.core.mesh import wait_for_all
from reasoning.core.signatures import function_words
from reasoning.core.user_code import answering_for_users
from reasoning.pipeline.bad_rows import bad_rows_of
from reasoning.pipeline.hang_watch import Beat
from reasoning.pipeline.processes import agree
from reasoning.pipeline.run import Run, Watcher
from reasoning.pipeline.workplace import Workplace
from reasoning.stages.stage import Context
from reasoning.training.preemption import Preemption
from reasoning.training.profiling import Profile
from reasoning.training.sinks import Labels, open_sinks

_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class StageWork:
    """Does the stages of one run in this process, within ``context``; ``note`` hears where each begins and ends."""

    workplace: Workplace
    context: Context
    note: Callable[[str], None]

    def do(self, name: str, done: Mapping[str, Artifact]) -> Artifact:
        """Does a stage whose parents are among ``done``, anew or from where it was cut off.

        Raises whatever the stage raises; its folder then stays to be resumed.
        """
        workplace, context = self.workplace, self.context
        node = workplace.graph[name]
        with context.at_once():
            agree(lambda: workplace.check_parents(name))
            resumed = agree(lambda: workplace.start(name))
        if told := agree(lambda: bad_rows_of(node, workplace.partial(name))):
            context.warn(f"stage {name}: {told}")
        self.note(f"{name}: {'goes on from where it was cut off' if resumed else 'starts'}")
        started = time.monotonic()
        inputs = {
            field: done[names] if isinstance(names, str) else tuple(done[each] for each in names)
            for field, names in node.parents.items()
        }
        own_context = replace(context, seed=workplace.known[name].seed)
        try:
            with answering_for_users(), context.at_once():
                outcome = node.stage.run(inputs, workplace.partial(name), own_context)
        except Exception as error:
            error.add_note(
                f"stage {name} stopped; its folder {workplace.partial(name)} stays: the same command goes on from "
                "there, and where a setting must change that can change the result, the stage starts anew beside it"
            )
            raise
        if not isinstance(outcome, Outcome):
            raise InputError(
                f"stage {name}: {function_words(type(node.stage).run)} gave {outcome!r:.60}; it must return an "
                "Outcome of reasoning.core.artifact"
            )
        # Finishing renames the folder, in which another process may still be reading or writing.
        wait_for_all(f"{name} has run")
        agree(lambda: workplace.finish(name, outcome, context.warn))
        self.note(f"{name}: finished in {time.monotonic() - started:.1f} s")
        return finished_artifact(workplace, name)


def context_of(
    run: Run,
    workplace: Workplace,
    mesh: Mesh,
    watcher: Watcher,
    preemption: Preemption,
    beat: Beat,
    profile: Profile,
) -> Context:
    """The surroundings of a run's stages in this process; each report and each question is a beat."""
    return Context(
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
            run.log_to, Labels(workplace.out, stage, workplace.known[stage].hash), watcher.warn, first
        ),
    )


def finished_artifact(workplace: Workplace, name: str) -> Artifact:
    """A finished artifact as process 0 reads it: on another host the file may not have arrived yet."""

    def describe() -> dict[str, Any]:
        finished = read_artifact(workplace.finished(name))
        return {"kind": finished.kind, "results": dict(finished.results)}

    return Artifact(path=workplace.finished(name), stage=name, hash=workplace.known[name].hash, **agree(describe))


def _beating(beat: Beat, call: Callable[[_Asked], _Answer]) -> Callable[[_Asked], _Answer]:
    """``call``, which is a sign of progress."""

    def beating(asked: _Asked) -> _Answer:
        beat()
        return call(asked)

    return beating
