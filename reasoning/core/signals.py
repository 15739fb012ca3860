"""Signals heard in spite of long calls into libraries, and of places where Python drops what a handler raises."""

import contextvars
import gc
import os
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

Result = TypeVar("Result")

_LOOK_SECONDS = 0.1
_AGAIN_SECONDS = 0.02


def is_dropped(frame: FrameType | None) -> bool:
    """Whether Python would drop what a handler raises that interrupts this frame.

    It does so in finalizers and in the callbacks of its garbage collector, of which JAX has one that runs often.
    """
    callbacks = {getattr(callback, "__code__", None) for callback in gc.callbacks}
    while frame is not None:
        if frame.f_code in callbacks or frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def send_again(number: int) -> None:
    """Sends this process a signal once more in a moment, when its work will have gone on."""
    timer = threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()


def beside(call: Callable[[], Result]) -> Result:
    """What ``call`` gives or raises, made in a thread of its own: Python hears no signal within a library's long call.

    Where a signal's handler raises meanwhile, the call is left to itself, and ends with the process at the latest.
    """
    results: list[Result] = []
    failures: list[BaseException] = []
    context = contextvars.copy_context()

    def work() -> None:
        try:
            results.append(context.run(call))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while thread.is_alive():  # A wait without an end would keep some platforms from signals too.
        thread.join(_LOOK_SECONDS)
    if failures:
        raise failures[0]
    return results[0]
