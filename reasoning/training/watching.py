"""Warnings in words while a stage trains: each kind once, on the console and in the record that reports read."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reasoning.core.files import readable_rows
from reasoning.core.history import History
from reasoning.training.diagnosis import CHECKS, STARVATION, Limits, Subject, starvation
from reasoning.training.metrics import METRICS, WARNINGS, MetricsLog

_EACH_STEP = 50
"""Up to this step each is looked at, then every second, and half as many each time that their number has doubled."""


@dataclass
class Watch:
    """Looks at the course of a stage's metrics and warns; what it says of metrics depends on nothing else."""

    stage: str
    subject: Subject
    limits: Limits
    log: MetricsLog
    warn: Callable[[str], None]
    history: History = field(default_factory=History)
    times: History = field(default_factory=History)
    told: set[str] = field(default_factory=set)
    begun: bool = False

    def look(self, step: int, values: Mapping[str, Any], seconds: Mapping[str, float]) -> None:
        """Looks at what a step told and how long its parts took, after its metrics were recorded."""
        if not self.log.write:
            return
        if not self.begun:
            self._begin(step)
        self.history.add(step, values)
        self.times.add(step, seconds)
        if not is_due(step, self.subject.steps):
            return
        for kind, check in CHECKS.items():
            words = None if kind in self.told else check(self.history, self.subject, self.limits)
            if words:
                self._tell(step, kind, words)
                self.log.warning(step, {"kind": kind, "words": words})
        starved = None if STARVATION in self.told else starvation(self.times, self.subject, self.limits)
        if starved:
            self._tell(step, STARVATION, starved)

    def _tell(self, step: int, kind: str, words: str) -> None:
        self.told.add(kind)
        self.warn(f"stage {self.stage}: {words} ({kind}, step {step})")

    def _begin(self, step: int) -> None:
        """Goes on from what an interrupted run recorded."""
        self.begun = True
        if step == 1:
            return
        for row in readable_rows(self.log.folder / METRICS, self.warn):
            if row["step"] < step:
                self.history.add(row["step"], {name: row[name] for name in row if name != "step"})
        self.told |= {str(row.get("kind")) for row in readable_rows(self.log.folder / WARNINGS, self.warn)}


def is_due(step: int, steps: int) -> bool:
    """Whether a step is one of those after which is looked: all of the first ones, then ever fewer, and the last."""
    return step == steps or step % 2 ** max(0, math.floor(math.log2(step / _EACH_STEP)) + 1) == 0 or step <= _EACH_STEP
