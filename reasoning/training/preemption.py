"""Turning a signal into a tidy stop: finish the step, save, then leave with the exit status that schedulers know."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

import jax
from jax.experimental import multihost_utils

from reasoning.core.signals import send_again


class Interrupted(KeyboardInterrupt):
    """Raised where a signal, whose number is ``signal``, ends the work, with everything worth keeping saved.

    It may come anywhere, as Ctrl-C does, so nobody may take it for an error of the work itself.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name} after saving; the same command goes on from there")
        self.signal = number

    @property
    def exit_code(self) -> int:
        """128 + signal, as shells report it: 143 for SIGTERM, 130 for Ctrl-C."""
        return 128 + self.signal


class Preemption:
    """Within ``with Preemption() as preemption``, signals ask to stop instead of killing, and ``stop`` passes it on.

    One process: SIGTERM and SIGINT are noted, and a second SIGINT raises KeyboardInterrupt at once, for people who
    don't want to wait. A signal that was ignored stays so (shells start background jobs with SIGINT ignored). Outside
    the main thread Python allows no handlers, so signals then act as they did before. Within ``at_once`` a signal
    raises Interrupted right where the work is.

    Several processes (``jax.distributed``): JAX itself catches SIGTERM on any host, and all hosts are told to stop at
    the same step. A handler of ours would silently switch that off, so none is set, and SIGINT acts as usual.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._previous: dict[int, Any] = {}
        self._asked = 0
        self._at_once = False

    def __enter__(self) -> Self:
        if not jax.distributed.is_initialized() and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            # None stands for a handler that was not set from Python and can't be set back from it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._previous.clear()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within it a signal ends the work where it stands, until ``stop`` is asked: then the asker waits for answers.

        For work that is done again from its beginning anyway, however long it takes; it must leave nothing half
        written, as after a kill.
        """
        before, self._at_once = self._at_once, True
        try:
            if self._received is not None and not jax.distributed.is_initialized():
                raise Interrupted(self._received)
            yield
        finally:
            self._at_once = before

    def stop(self, step: int) -> int | None:
        """The number of the signal that asks to stop, or None; to be asked after every step, by every process alike.

        Once there is an answer it stays.
        """
        self._at_once = False
        if jax.distributed.is_initialized() and self._received is None:
            # The hosts agree on a moment by the highest number they have called with. A step starts from 0 again in
            # each stage, where that would fail; how often they have asked only rises, and is the same on all.
            self._asked += 1
            if multihost_utils.reached_preemption_sync_point(self._asked):
                self._received = signal.SIGTERM
        return self._received

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._at_once:
            self._received = self._received or number
            send_again(number, lambda: not self._at_once)
            raise Interrupted(self._received)
        if number == signal.SIGINT and self._received == signal.SIGINT:
            raise KeyboardInterrupt
        self._received = self._received or number
