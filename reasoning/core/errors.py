"""The one exception for bad input, so that users always get one clear sentence instead of a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager


class InputError(Exception):
    """Raised when something the user gave is wrong.

    The message says what was wrong, where (file:line, stage, tensor name, shape), and what to do. The command line
    prints it after ``error:`` and exits with status 2; everything already written stays as it was.
    """


@contextmanager
def without_notes() -> Iterator[None]:
    """Pass an InputError on as it was raised, without what a library that it went through has added to it.

    Grain adds notes about its own datasets and frames to every exception, and the command line prints notes.
    """
    try:
        yield
    except InputError as error:
        raise InputError(str(error)) from None
