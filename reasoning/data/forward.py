"""Items by number from what can only be read from its beginning on, such as compressed files and Parquet's pages."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass
class Forward(Generic[Item]):
    """Gives items of the iterator that ``begin`` gives: asked for in order, each is read once.

    One before the last that was asked for is found by beginning anew. Only one item is held. Asked for one past the
    end, it raises IndexError.
    """

    begin: Callable[[], Iterator[Item]]
    _items: Iterator[Item] = field(default_factory=lambda: iter(()), init=False)
    _last: tuple[int, Item] | None = field(default=None, init=False)

    def __call__(self, number: int) -> Item:
        """The item with this number, from 0."""
        if self._last is None or number < self._last[0]:
            self._items, self._last = self.begin(), None
        while self._last is None or self._last[0] < number:
            place = 0 if self._last is None else self._last[0] + 1
            try:
                self._last = place, next(self._items)
            except StopIteration:
                raise IndexError(f"item {number} of {place}") from None
        return self._last[1]
