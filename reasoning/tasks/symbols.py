"""What a tokenizer must hold as single tokens for several tasks at once."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from reasoning.core.ranges import Count


@runtime_checkable
class Spelled(Protocol):
    """A task, or a writer of texts, that knows its units."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """What the tokenizer has to hold as single tokens."""
        ...


@dataclass(frozen=True)
class Symbols:
    """The units of all ``tasks``, each once; a value for ``TokenizerTraining.symbols``.

    A vocabulary of single characters holds those anyway, and can't be trained where all of them are symbols: for it,
    ``shortest`` is 2.
    """

    tasks: tuple[Spelled, ...]
    shortest: Count = 1  # units of fewer characters are left out

    def __call__(self) -> tuple[str, ...]:
        """The symbols, in the tasks' order."""
        return tuple(
            dict.fromkeys(symbol for task in self.tasks for symbol in task.symbols if len(symbol) >= self.shortest)
        )
