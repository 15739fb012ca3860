"""What a sweep file calls ``@pipeline.Sweep``: which settings vary, over how many seeds, and what is compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reasoning.core.errors import InputError
from reasoning.core.ranges import Few

VariedSettings = Mapping[str, tuple[Any, ...]]
"""Values to try by what they are given to: ``part.field`` or a constant, as in an override."""


@dataclass(frozen=True)
class Sweep:
    """Arms, each run with the seeds run.seed, run.seed + 1, …; an arm is the file's settings with some of them changed.

    ``grid`` tries all combinations; ``zip`` values that go together, first with first; ``each`` one setting at a time
    against the file's own (the baseline). With none of the three there is one arm, and the sweep shows what seeds do.
    ``scores`` are the results that enter the table, as ``'exam/zero/lenient/pass@1'``: stage, checkpoint, score; by
    kind of problem ``'exam/zero/kinds/cups/lenient/pass@1'``, by prompt style ``'exam/zero/styles/direct/…'``, and how
    much more one style has than a later one ``'exam/zero/styles/think less direct/…'``. Empty: every score of every
    checkpoint of the last evaluation.
    """

    grid: VariedSettings = field(default_factory=dict)
    zip: VariedSettings = field(default_factory=dict)
    each: VariedSettings = field(default_factory=dict)
    seeds: Few = 5
    scores: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ways = {"grid": self.grid, "zip": self.zip, "each": self.each}
        used = [name for name, varied in ways.items() if varied]
        if len(used) > 1:
            raise InputError(f"{' and '.join(used)} exclude each other; make it two sweeps, or one grid")
        for name, varied in ways.items():
            empty = [key for key, values in varied.items() if not values]
            if empty:
                raise InputError(f"{name}[{empty[0]!r}] lists no values; list some, or take the line out")
        lengths = {key: len(values) for key, values in self.zip.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{key!r} has {length}" for key, length in lengths.items())
            raise InputError(f"the values of zip go together, so there must be equally many: {told}")

    def way(self) -> str:
        """``grid``, ``zip``, ``each``, or ``seeds`` where nothing but the seed varies."""
        used = {"grid": self.grid, "zip": self.zip, "each": self.each}
        return next((name for name, varied in used.items() if varied), "seeds")

    def varied(self) -> VariedSettings:
        """What varies, and its values."""
        return self.grid or self.zip or self.each
