"""What reward models take beside the stages that ask them, before any of them is trained."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from reasoning.core.errors import InputError
from reasoning.core.program import Program
from reasoning.evaluation.reward_scorer import ForeseenScorer
from reasoning.stages.place import Place
from reasoning.stages.stage import Stage


@runtime_checkable
class _ForeseesScorer(Protocol):
    """A stage that can tell the scorer that it will leave."""

    def foreseen(self, place: Place) -> ForeseenScorer:
        """The scorer. Raises InputError where it can't be told yet."""
        ...


@dataclass(frozen=True)
class Beside:
    """The scorers of a stage by name, which stay on its devices; each reads ``batch`` replies at once."""

    scorers: Mapping[str, ForeseenScorer]
    batch: int

    @property
    def params(self) -> dict[str, Any]:
        """The shapes of their parameters, by name."""
        return {name: scorer.params for name, scorer in self.scorers.items()}

    def reading(self, name: str, texts: int, longest: int) -> Iterator[Program]:
        """What a scorer compiles for so many texts of so many tokens."""
        return self.scorers[name].programs(name, self.batch, texts, longest)

    def around(self, program: Program) -> Program:
        """A program with the parameters of all scorers beside it, but for those that it is given."""
        held = {name: params for name, params in self.params.items() if not _is_one_of(params, program.arguments)}
        return replace(program, beside={**program.beside, **held})


def scorers_beside(stages: Sequence[Stage], batch: int, place: Place, whose: str) -> Beside:
    """The scorers that these stages will leave; of one that can't be told a note says that it doesn't count."""
    found: dict[str, ForeseenScorer] = {}
    for stage in stages:
        try:
            if not isinstance(stage, _ForeseesScorer):
                raise InputError("what it will be can't be told")
            found[stage.name] = stage.foreseen(place)
        except InputError as error:
            place.note(f"{whose}: neither weights nor passes of its scorer {stage.name} are counted ({error})")
    return Beside(found, batch)


def _is_one_of(tree: Any, arguments: tuple[Any, ...]) -> bool:
    return any(argument is tree for argument in arguments)
