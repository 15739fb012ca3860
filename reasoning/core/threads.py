"""Long calls into libraries, made so that this process still hears signals."""

import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

_LOOK_SECONDS = 0.1


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
