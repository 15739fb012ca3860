"""Where a word stands in an experiment file or an override, and errors that point at it with a caret."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from reasoning.core.errors import InputError
from reasoning.core.text import abridged

_FEW = 12
"""Up to this many known names are listed when none of them resembles the wrong one."""

_LINE = 160
"""Characters of a source line that an error shows around its word."""

_WORD = 80
"""Characters of a word that an error quotes, or looks for a resembling name of."""


@dataclass(frozen=True, slots=True)
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
        lead, line, column = f"  {abridged(self.label, _LINE)}: ", self.line, self.column
        start = 0 if len(line) <= _LINE else min(max(0, column - _LINE // 2), len(line) - _LINE)
        before, after = "…" * (start > 0), "…" * (start + _LINE < len(line))
        # Tabs stay tabs, so that the caret stands under the word however wide the terminal draws them.
        indent = " " * len(lead + before) + re.sub(r"[^\t]", " ", line[start:column])
        carets = "^" * min(self.width, start + _LINE - column)
        return f"{lead}{before}{line[start : start + _LINE]}{after}\n{indent}{carets}"


def error_at(message: str, *locations: Location) -> InputError:
    """The error that says ``message`` and shows each location, one source line and one caret line a location.

    Of many locations, the first and the last are shown.
    """
    shown = [str(location) for location in locations]
    if len(shown) > _FEW:
        shown[_FEW // 2 : -_FEW // 2] = [f"  … and {len(shown) - _FEW} more …"]
    return InputError("\n".join([message, *shown]))


def quoted(word: str) -> str:
    """A word of a file as an error quotes it, however long it is."""
    return f"'{abridged(word, _WORD)}'"


def suggestion(word: str, known: Iterable[str]) -> str:
    """The end of an error about the unknown ``word``: the nearest known name, or all of them where they are few."""
    by_lower: dict[str, str] = {}
    for name in sorted(known):
        by_lower.setdefault(name.lower(), name)
    close = difflib.get_close_matches(word.lower(), by_lower, n=1) if len(word) <= _WORD else []
    if close:
        return f"; did you mean '{by_lower[close[0]]}'?"
    if 0 < len(by_lower) <= _FEW:
        return f"; known are {', '.join(abridged(name, _WORD) for name in by_lower.values())}"
    return ""
