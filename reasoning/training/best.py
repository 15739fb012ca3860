"""The best of what a stage has trained so far by some measure, kept on disk beside its checkpoints."""

import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax

from reasoning.core.errors import InputError
from reasoning.models.parameters import Params
from reasoning.training.checkpoints import load_params, save_params
from reasoning.training.first_process import on_first_process
from reasoning.training.state import TrainState


@dataclass
class Best:
    """The parameters of the step at which ``measure`` was best, of equals the first; measured every ``every`` steps.

    ``better(value, other)`` says which of two is, and one that isn't finite never is. The parameters are written to
    ``folder`` when they are found, so that no second copy takes memory. ``step`` and ``value`` are theirs; step 0 means
    that nothing was measured yet. What the last ``remembered`` cursors name stays on disk, since a resumed run may go
    on from any of these. In a run of several processes all of them call every method.
    """

    folder: Path
    every: int
    remembered: int
    metric: str
    measure: Callable[[TrainState], float]
    better: Callable[[float, float], bool]
    step: int = 0
    value: float = 0.0
    named: list[int] = field(default_factory=list)

    def look(self, step: int, state: TrainState) -> Mapping[str, float]:
        """Measures what trains after ``step`` and keeps it if it is the best so far; the measure, as a metric."""
        value = self.measure(state)
        if math.isfinite(value) and (self.step == 0 or self.better(value, self.value)):
            save_params(self._path(step), state.params)
            self.step, self.value = step, value
        return {self.metric: value}

    def params(self, like: Params) -> Params:
        """The best parameters, laid out as ``like``. Raises InputError where they are damaged, or none were found."""
        if self.step == 0:
            raise InputError(
                f"{self.metric} was finite at no step, so none is the best; look at metrics.jsonl in "
                f"{self.folder.parent}, and at what is measured"
            )
        places = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), like)
        return load_params(self._path(self.step), places)

    def get_state(self) -> dict[str, Any]:
        """Which step is the best so far, whose parameters are on disk."""
        self.named = [*self.named, self.step][-self.remembered :]
        if len(self.named) == self.remembered:
            on_first_process(self._remove_surplus)
        return {"step": self.step, "value": self.value}

    def set_state(self, cursor: Mapping[str, Any]) -> None:
        """Goes on with the best that ``cursor`` names. Raises InputError where it is no longer there."""
        self.step, self.value, self.named = cursor["step"], cursor["value"], []
        if self.step > 0 and not self._path(self.step).is_dir():
            raise InputError(
                f"{self._path(self.step)} is missing, which held the best parameters of an interrupted run; put it "
                f"back, or delete {self.folder.parent} to train the stage anew"
            )

    def _path(self, step: int) -> Path:
        return self.folder / f"step_{step:08d}"

    def _remove_surplus(self) -> None:
        """Removes what no cursor names any more; what a kill leaves of it is written anew or removed the next time."""
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                if path not in map(self._path, self.named):
                    shutil.rmtree(path)
