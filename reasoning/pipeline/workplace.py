"""The files of a run in progress: what is finished, what is begun, what came from elsewhere. Process 0 only."""

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from reasoning.core.artifact import RECORD, Outcome, check_content, files_under, read_artifact, sealed
from reasoning.core.contents import Memory
from reasoning.core.errors import InputError
from reasoning.core.files import read_json, sweep_partials, write_json
from reasoning.core.folders import publish_folder
from reasoning.pipeline import folder
from reasoning.pipeline.contents import contents_of, write_memory
from reasoning.pipeline.environment import check_environment, current_environment, environment_differences
from reasoning.pipeline.folder import Entry
from reasoning.pipeline.graph import Graph, downstream
from reasoning.pipeline.identity import Identity, identity_differences
from reasoning.pipeline.leaks import check_leaks
from reasoning.pipeline.run import RunOptions, Watcher
from reasoning.stages.checkpoint import ON_THE_WAY
from reasoning.stages.stage import learns_from
from reasoning.training.metrics import TIMINGS

StageState = Literal["finished", "begun", "new"]

_SHOWN_CHANGES = 6


@dataclass(frozen=True)
class Workplace:
    """A run's folder with the graph and the identities of the configuration that is run in it.

    ``artifacts`` is the folder of all artifacts: inside ``out``, or shared by the runs of a sweep. ``memory``
    is of the files that stages read; it is kept beside the artifacts.
    """

    out: Path
    graph: Graph
    known: dict[str, Identity]
    artifacts: Path
    memory: Memory = field(default_factory=dict)

    def finished(self, name: str) -> Path:
        """Where a stage lies, or will lie, when finished."""
        return folder.finished_folder(self.artifacts, name, self.known[name].hash)

    def partial(self, name: str) -> Path:
        """Where a stage does its work."""
        return folder.unfinished_folder(self.artifacts, name, self.known[name].hash)

    def state(self, name: str) -> StageState:
        """How far a stage has come."""
        if self.finished(name).exists():
            return "finished"
        return "begun" if (self.partial(name) / RECORD).exists() else "new"

    def open(self, options: RunOptions, watcher: Watcher, resolved: str) -> None:
        """Makes the folder ready for this configuration, whose text is ``resolved``.

        All checks come first: after an InputError whatever lay there is as it was, but for files that a killed process
        was writing.
        """
        for path in (self.out, self.artifacts):
            path.mkdir(parents=True, exist_ok=True)
        sweep_partials(self.out)
        redone = downstream(self.graph, options.again) if options.again else ()
        self._check_parents(options.only)
        self.check_environment(options.strict_code, watcher.warn, redone)
        self.check_whole(redone)
        self._announce_changes(folder.read_run(self.out), options.only, watcher.warn)
        for name in redone:
            for path in (self.finished(name), self.partial(name)):
                if earlier := folder.set_aside(path):
                    watcher.note(f"{name}: done anew; what it had left is in {earlier}")
        if resolved:
            folder.write_keeping_earlier(self.out, resolved, watcher.warn)
        self.write_run()
        write_memory(self.artifacts.parent, self.memory)

    def start(self, name: str) -> bool:
        """Opens a stage's folder for work and says whether there is earlier work in it.

        Raises InputError where a file that it reads is no longer what it was when the run began.
        """
        if changed := self._changed(name):
            raise InputError(f"stage {name}: {changed} changed since the run began; run the same command again")
        path = self.partial(name)
        begun = self.state(name) == "begun"
        now = current_environment()
        environments = _environments(path) if begun else []
        if not environments or environment_differences(environments[-1], now):
            path.mkdir(exist_ok=True)
            write_json(path / RECORD, self._record(name, [*environments, now]))
        return begun

    def finish(self, name: str, outcome: Outcome, warn: Callable[[str], None]) -> None:
        """Completes a stage's record and gives its folder the final name; warns of files that changed meanwhile."""
        if changed := self._changed(name):
            warn(f"stage {name}: {changed} changed while it ran; it counts as made from what lay there at its start")
        path = self.partial(name)
        record = self._record(name, _environments(path))
        bad = {name: value for name, value in outcome.results.items() if not math.isfinite(value)}
        if bad:
            raise ValueError(f"stage {name} ended with results that aren't finite: {bad}")
        # Clocks tick differently in equal runs, and so do the sizes of what holds their times.
        record |= files_under(path, (*ON_THE_WAY, TIMINGS))
        record |= {"kind": outcome.kind, "results": dict(outcome.results), "array_hash": outcome.array_hash or None}
        write_json(path / RECORD, sealed(record))
        publish_folder(path, self.finished(name))
        self.write_run()

    def _changed(self, name: str) -> str:
        """The paths that a stage reads and whose content isn't what its identity says."""
        now = contents_of({name: self.graph[name]}, self.memory)[name]
        write_memory(self.artifacts.parent, self.memory)
        before = self.known[name].contents
        return ", ".join(path for path in {**before, **now} if before.get(path) != now.get(path))

    def _record(self, name: str, environments: list[dict[str, Any]]) -> dict[str, Any]:
        own = {"stage": name, "learns_from": learns_from(self.graph[name].stage), "environments": environments}
        return {**own, **vars(self.known[name])}

    def write_run(self) -> None:
        """Says in ``run.json`` which stages are finished now."""
        # Relative paths, so that what holds both folders can be moved.
        places = {name: os.path.relpath(self.finished(name), self.out) for name in self.known}
        done = {name: self.state(name) == "finished" for name in self.known}
        entries = (Entry(name, places[name], identity.hash, done[name]) for name, identity in self.known.items())
        folder.write_run(self.out, entries)

    def _check_parents(self, only: Iterable[str]) -> None:
        """Refuses to run a stage alone whose parents aren't there."""
        for name in only:
            missing = [
                parent
                for parent in self.graph[name].parent_names()
                if parent not in only and self.state(parent) != "finished"
            ]
            if missing:
                raise InputError(
                    f"--only {name}: it is made from {', '.join(missing)}, not finished in {self.out}; add "
                    f"{'them' if len(missing) > 1 else 'it'} to --only, or run without --only"
                )

    def leaks(self, options: RunOptions, note: Callable[[str], None]) -> list[str]:
        """``check_leaks`` of the exams that are still to be held."""
        redone = downstream(self.graph, options.again) if options.again else ()

        def wanted(name: str) -> bool:
            due = name in redone or self.state(name) != "finished"
            return due and (not options.only or name in options.only)

        return check_leaks(self.graph, self.known, wanted, self.memory, note)

    def check_whole(self, redone: tuple[str, ...] = ()) -> None:
        """Raises InputError for a finished stage, none of ``redone``, that has lost what was published."""
        for name in self.graph:
            if self.state(name) == "finished" and name not in redone:
                read_artifact(self.finished(name), self._anew(name))

    def check_parents(self, name: str) -> None:
        """Raises InputError where a file that a stage starts from isn't, byte by byte, what was published."""
        for parent in self.graph[name].parent_names():
            path = self.finished(parent)
            check_content(path, f"stage {parent}", self._anew(parent))

    def _anew(self, name: str) -> str:
        """What to do about a damaged stage; one that many runs share a single one of them can't set aside."""
        own = f" (--from {name} makes stage {name} anew)" if self.artifacts.parent == self.out else ""
        return f"move {self.finished(name)} away and run the same command{own}"

    def check_environment(self, strict: bool, warn: Callable[[str], None], redone: tuple[str, ...] = ()) -> None:
        """Warns of results made under other code, libraries or devices, or refuses them."""
        now = current_environment()
        affected: dict[tuple[str, ...], list[str]] = {}
        for name in self.graph:
            state = self.state(name)
            if state != "new" and name not in redone:
                path = self.finished(name) if state == "finished" else self.partial(name)
                changed = environment_differences(_environments(path)[-1], now)
                affected.setdefault(changed, []).append(name)
        affected.pop((), None)
        for changed, names in affected.items():
            message = f"{', '.join(names)} made under other versions: {'; '.join(changed)}"
            first = next(name for name in self.graph if name in names)
            # What many runs share, one of them can't set aside.
            anew = f"--from {first}" if self.artifacts.parent == self.out else "another --out"
            if strict:
                raise InputError(f"{message}; --strict-code refuses that: run them anew with {anew}")
            warn(f"{message}; used all the same ({anew} does them anew, --strict-code refuses)")

    def _announce_changes(
        self, previous: tuple[Entry, ...], only: tuple[str, ...], warn: Callable[[str], None]
    ) -> None:
        """Says which stages run anew, and why, where the folder holds another configuration's results."""
        before = {entry.stage: entry for entry in previous}
        anew: list[str] = []
        for name, identity in self.known.items():
            entry = before.get(name)
            wanted = self.state(name) != "finished" and (not only or name in only)
            if wanted and entry is not None and entry.hash != identity.hash:
                anew.append(f"  {name}: {self._reason(name, entry)}")
        gone = ", ".join(name for name in before if name not in self.known)
        if anew or gone:
            title = f"{self.out} holds results of another configuration; they stay"
            title += ", and this is done anew:" if anew else ", and nothing is done anew"
            warn("\n".join([title, *anew, *([f"  no longer in the run: {gone}"] if gone else [])]))

    def _reason(self, name: str, entry: Entry) -> str:
        paths = (self.out / entry.folder, folder.unfinished_folder(self.artifacts, name, entry.hash))
        record = next((read_json(path / RECORD) for path in paths if (path / RECORD).exists()), None)
        changed = identity_differences(record, self.known[name]) if isinstance(record, dict) else ()
        if not changed:
            return f"made from {', '.join(self.graph[name].parent_names())}" if record else "not run before"
        more = len(changed) - _SHOWN_CHANGES
        return "; ".join(changed[:_SHOWN_CHANGES]) + (f"; and {more} more" if more > 0 else "")


def _environments(path: Path) -> list[dict[str, Any]]:
    """Under what an artifact's work was done: one environment, and one more for each resume under another."""
    try:
        record = read_json(path / RECORD)
        environments = record.get("environments") if isinstance(record, dict) else None
        if not isinstance(environments, list) or not environments:
            raise InputError(f"{path / RECORD} lists no environments")
        check_environment(environments[-1], f"{path / RECORD}: environments[{len(environments) - 1}]")
        return environments
    except InputError as error:
        raise InputError(f"{error}; move the folder {path} away, and its stage runs again") from None
