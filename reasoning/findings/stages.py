"""The stages of a run as their folders tell them, finished or not; what can't be read is said, never raised."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reasoning.core.artifact import Artifact
from reasoning.core.files import is_number
from reasoning.findings.best_replies import BestReplies

Row = Mapping[str, Any]


@dataclass(frozen=True)
class StageFacts:
    """One stage: what it is, where it stands in the graph, its numbers and its rows.

    ``kind`` is the class of its settings (``GRPO``), shown and never asked about, empty where no record tells.
    ``artifact`` is None until the stage has finished. ``parents`` are stage names by field. ``metrics`` and ``probes``
    hold what could be read, ``best`` what the rewards paid best where rollouts were kept, ``warnings`` what was said
    while it trained. ``timings`` are for terminals alone: they differ between equal runs.
    """

    name: str
    kind: str
    artifact: Artifact | None
    parents: Mapping[str, tuple[str, ...]]
    record: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[Row, ...] = ()
    probes: tuple[Row, ...] = ()
    best: BestReplies | None = None
    warnings: tuple[Row, ...] = ()
    timings: tuple[Row, ...] = ()

    @property
    def results(self) -> Mapping[str, float]:
        """The final numbers that the stage recorded."""
        return {} if self.artifact is None else numeric(self.artifact.results)

    @property
    def holds(self) -> str:
        """``checkpoint``, ``records`` or ``results``; empty until the stage has finished."""
        return "" if self.artifact is None else self.artifact.kind

    @property
    def learns_from(self) -> str:
        """``text``, ``examples``, ``teacher``, ``rewards`` or ``nothing``, as the stage says of itself."""
        return str(self.record.get("learns_from", "nothing"))

    @property
    def examines(self) -> bool:
        """Whether the stage puts questions to checkpoints and leaves no more than what came of it."""
        return self.holds in ("", "results") and bool(self.parents.get("checkpoints"))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The resolved settings, as far as there is a record of them."""
        return mapping(self.record.get("settings"))

    @property
    def title(self) -> str:
        """The name with the class, as a heading."""
        return f"{self.name} ({self.kind or 'stage'})"

    @property
    def starts(self) -> tuple[str, ...]:
        """What the stage began its training from."""
        return self.parents.get("start", ())

    def parent_names(self) -> tuple[str, ...]:
        """All parents, each once, in the order of the fields."""
        return tuple(dict.fromkeys(name for names in self.parents.values() for name in names))


def numeric(values: Mapping[str, Any]) -> dict[str, float]:
    """Those of the values that are numbers."""
    return {name: value for name, value in values.items() if is_number(value)}


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one: records may have been written by others."""
    return value if isinstance(value, dict) else {}
