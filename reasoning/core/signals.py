"""Signals heard in spite of long calls into libraries, and of places where Python drops what a handler raises."""

import contextvars
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")

_LOOK_SECONDS = 0.1
_AGAIN_SECONDS = 1.0


def send_again(number: int, unless: Callable[[], bool]) -> None:
    """Sends this process a signal once more in a second, unless what the first one's handler raised was heard.

    Python drops exceptions that happen to come up in finalizers and in callbacks of weak references and of its garbage
    collector, of which JAX has one that runs often. Until then it shows no traceback of such an interrupt.
    """
    usual = sys.unraisablehook

    def hook(report: Any) -> None:
        if not isinstance(report.exc_value, KeyboardInterrupt):
            usual(report)

    def send() -> None:
        if sys.unraisablehook is hook:
            sys.unraisablehook = usual
        if not unless():
            os.kill(os.getpid(), number)

    sys.unraisablehook = hook
    timer = threading.Timer(_AGAIN_SECONDS, send)
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
