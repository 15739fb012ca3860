"""Where a word stands in an experiment file or an override, and errors that point at it with a caret."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from reasoning.core.errors import InputError

_FEW = 12
"""Up to this many known names are listed when none of them resembles the wrong one."""


@dataclass(frozen=True)
class Location:
    """One word of one line: ``label`` is ``file:line`` or ``command line``, ``column`` counts from 0."""

    label: str
    line: str
    column: int
    width: int = 1

    def part(self, start: int, width: int) -> "Location":
        """The ``width`` characters of this word that begin ``start`` characters into it."""
        return Location(self.label, self.line, self.column + start, width)

    def __str__(self) -> str:
        lead = f"  {self.label}: "
        # Tabs stay tabs, so that the caret stands under the word however wide the terminal draws them.
        indent = " " * len(lead) + re.sub(r"[^\t]", " ", self.line[: self.column])
        return f"{lead}{self.line}\n{indent}{'^' * self.width}"


def error_at(message: str, *locations: Location) -> InputError:
    """The error that says ``message`` and shows each location, one source line and one caret line a location."""
    return InputError("\n".join([message, *map(str, locations)]))


def suggestion(word: str, known: Iterable[str]) -> str:
    """The end of an error about the unknown ``word``: the nearest known name, or all of them where they are few."""
    by_lower: dict[str, str] = {}
    for name in sorted(known):
        by_lower.setdefault(name.lower(), name)
    close = difflib.get_close_matches(word.lower(), by_lower, n=1)
    if close:
        return f"; did you mean '{by_lower[close[0]]}'?"
    if 0 < len(by_lower) <= _FEW:
        return f"; known are {', '.join(by_lower.values())}"
    return ""
