"""Checkpoints that are written beside the steps that follow, so that training waits for the copy to the host alone."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax

from reasoning.training.checkpoints import Checkpointer
from reasoning.training.first_process import on_first_process

_LOOK_SECONDS = 0.1


@dataclass
class Saves:
    """The saves of a training loop, one at a time. In a run of several processes all of them call every function here.

    A save that fails is told by the next call: by ``look`` at the next step, at the latest.
    """

    checkpointer: Checkpointer
    _thread: threading.Thread | None = None
    _failure: BaseException | None = None

    def begin(self, step: int, state: Any, cursor: Any, beside: Mapping[str, bytes]) -> None:
        """As ``Checkpointer.save``, and returns when the state may change. The save before must be finished."""
        complete = self.checkpointer.begin(step, state, cursor, beside)
        self._thread = threading.Thread(target=self._run, args=(complete,), daemon=True, name=f"save of step {step}")
        self._thread.start()

    def look(self) -> None:
        """Raises what the save under way has met, if it has failed."""
        if self._thread is not None and on_first_process(self._ended):
            self._thread.join()  # Process 0 has seen the end, so the others are about to.
            self._close()

    def finish(self) -> None:
        """Waits until the save under way is on disk. Raises what it has met, if it has failed."""
        if self._thread is not None:
            self._join()
            on_first_process(self._ended)
            self._close()

    def abandon(self, error: BaseException) -> None:
        """Waits for the save under way when the loop fails, so that it counts; a failure of its own becomes a note.

        Not in a run of several processes, where others may be waited for that have ended.
        """
        if self._thread is not None and jax.process_count() == 1:
            self._join()
            if self._failure is not None and self._failure is not error:
                error.add_note(str(self._failure))

    def _run(self, complete: Callable[[], None]) -> None:
        try:
            complete()
        except BaseException as error:
            self._failure = error

    def _ended(self) -> int:
        """Whether the thread has ended, as a number for ``on_first_process``; raises what it has met."""
        if self._thread is not None and self._thread.is_alive():
            return 0
        if self._failure is not None:
            raise self._failure
        return 1

    def _join(self) -> None:
        while self._thread is not None and self._thread.is_alive():  # A wait without an end would be deaf to signals.
            self._thread.join(_LOOK_SECONDS)

    def _close(self) -> None:
        self._thread = None
        if self._failure is not None:
            raise self._failure


@contextmanager
def saves_of(checkpointer: Checkpointer) -> Iterator[Saves]:
    """Within it checkpoints are written beside what else is done; it ends when the last is on disk.

    However it ends; only an interruption (``KeyboardInterrupt``) that comes while it waits ends the waiting.
    """
    saves = Saves(checkpointer)
    try:
        yield saves
    except BaseException as error:
        saves.abandon(error)
        raise
    saves.finish()
