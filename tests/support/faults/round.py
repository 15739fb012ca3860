"""A round: a run to which something happens, the same command given again, and a look at what was promised."""

import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from miniature import first_step_shown, saved_steps

from faults.cases import Case, chosen_event, sort_of
from faults.inside import Plan
from faults.processes import Process
from faults.world import Ended, World, ancestors, ended

_ATTEMPTS = 4
_ADVICE = re.compile(r"move (?:the folder )?(/\S+) away|(/\S+?)(?::| is not as it was written).*; remove it")
REFUSAL = 2
"""The exit status of a command that says what is wrong."""


@dataclass
class Result:
    """What became of a round: where the fault came, whether it came at all, what is broken, what was told of it."""

    where: str
    met: bool = True
    broken: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)


@dataclass
class Round:
    """A case in a folder of its own: the run in ``out`` that is attacked, and the stages that it must complete.

    Its commands get the words ``more`` and these environment variables too.
    """

    world: World
    case: Case
    folder: Path
    stage: str
    result: Result
    cache: Path
    out: Path = Path()
    more: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def stages(self) -> list[str]:
        return [*ancestors(self.stage), self.stage]

    def begin(self, plan: Plan | None, *more: str) -> Process:
        """The command, which meets a fault where there is a plan."""
        return self.world.run(
            self.out, self.stages, plan, *self.more, *more, cache=self.cache, variables=self.variables
        )

    def attacked(self, **fault: object) -> Ended:
        """The command, with a fault at the case's place in what it changes."""
        events = self.world.events[self.stage]
        number = chosen_event(self.case, events)
        sort = sort_of(events[number - 1])
        nth = sum(sort_of(event) == sort for event in events[:number])
        self.result.where = f"{sort} ({nth})"
        return ended(self.begin(Plan(str(self.out), sort=sort, at=nth, **fault)))

    def complete(self) -> None:
        """Gives the same command until the run is complete, does what it says where it refuses, and compares.

        Whatever a kill interrupted goes on from the newest whole checkpoint, so no step that it holds is done again.
        """
        saved = self._saved()
        for _ in range(_ATTEMPTS):
            end = ended(self.begin(None))
            self.note(end)
            if saved and end.code == 0 and self.case.kind.startswith(("kill", "SIG")):
                first = first_step_shown(end.out, self.stage)
                if first is not None and first != saved + 1:
                    self.result.broken.append(f"went on with step {first}, where step {saved} was saved")
            if end.code == 0:
                break
            if end.code != REFUSAL or not self._follow(end):
                self.result.broken.append(f"the same command ended with {end.code}: {last(end)}")
                return
        self.result.broken += [f"differs: {name}" for name in self.world.differences(self.out, self.stages)[:5]]
        left = [str(path.relative_to(self.out)) for path in self.out.rglob("*.partial*")]
        self.result.broken += [f"left over: {name}" for name in left[:3]]

    def note(self, end: Ended) -> None:
        """Keeps what a process told, and complains of what nobody should be shown."""
        self.result.told += [line[:300] for line in end.told()][:6]
        if "Traceback" in end.error:
            self.result.broken.append(f"a traceback: {last(end)}")
        if end.code is None:
            self.result.broken.append("hung")

    def _saved(self) -> int:
        partial = self.world.partial(self.out, self.stage)
        steps = saved_steps(partial) if partial else []
        return steps[-1] if steps else 0

    def _follow(self, end: Ended) -> bool:
        """Does what a refusal asks for: moves a folder away, or removes a file. Whether it asked for such a thing."""
        for found in _ADVICE.finditer(end.error):
            path = Path(next(filter(None, found.groups())).rstrip(":;,"))
            if path.exists() and self.out in path.parents:
                if path.is_dir():
                    shutil.move(path, self.folder / f"away.{time.monotonic_ns()}")
                else:
                    path.unlink()
                return True
        return False


def last(end: Ended) -> str:
    """The last line of a complaint."""
    lines = [line for line in end.error.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "nothing was said"
