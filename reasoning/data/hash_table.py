"""A table from 64-bit numbers to others that holds tens of millions of entries in little memory."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt64

_RECENT = 1 << 17
"""Entries in a dict, which takes ten times the room, before they are merged into the arrays."""


def _empty() -> np.ndarray:
    return np.zeros(0, np.uint64)


@dataclass
class HashTable:
    """Values by key, 16 bytes an entry: sorted arrays, and a dict of what came last; a key may have several values."""

    keys: UInt64[np.ndarray, " E"] = field(default_factory=_empty)
    values: UInt64[np.ndarray, " E"] = field(default_factory=_empty)
    recent: dict[int, list[int]] = field(default_factory=dict)

    def find(self, keys: UInt64[np.ndarray, " K"]) -> list[int]:
        """All values under any of these keys, those of one key in the order in which they were added."""
        found: list[int] = []
        lefts = np.searchsorted(self.keys, keys, "left").tolist()
        rights = np.searchsorted(self.keys, keys, "right").tolist()
        for key, left, right in zip(keys.tolist(), lefts, rights, strict=True):
            if left < right:
                found += self.values[left:right].tolist()
            found += self.recent.get(key, ())
        return found

    def add(self, keys: UInt64[np.ndarray, " K"], value: int) -> None:
        """Puts a value under each of the keys."""
        for key in keys.tolist():
            self.recent.setdefault(key, []).append(value)
        if len(self.recent) >= _RECENT:
            self._merge()

    def _merge(self) -> None:
        keys = np.fromiter((key for key, values in self.recent.items() for _ in values), np.uint64)
        values = np.fromiter((value for values in self.recent.values() for value in values), np.uint64, len(keys))
        order = np.argsort(keys, kind="stable")
        keys, values = keys[order], values[order]
        places = np.searchsorted(self.keys, keys, "right")
        # One after the other, so that only one of them is there twice.
        self.keys = np.insert(self.keys, places, keys)
        self.values = np.insert(self.values, places, values)
        self.recent.clear()
