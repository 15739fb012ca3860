"""The one exception for bad input, so that users always get one clear sentence instead of a traceback."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from reasoning.core.text import abridged

_LINE_CHARACTERS = 1000
"""A line of a message that is longer is shown by its beginning and its end: inputs may hold megabytes on one line."""


DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Errors of a disk that takes no more."""


class InputError(Exception):
    """Raised when something the user gave is wrong.

    The message says what was wrong, where (file:line, stage, tensor name, shape), and what to do. The command line
    prints it after ``error:`` and exits with status 2; everything already written stays as it was. Long lines are
    abridged.
    """

    def __init__(self, message: str):
        super().__init__("\n".join(abridged(line, _LINE_CHARACTERS) for line in message.split("\n")))


class BadRow(InputError):
    """Raised by readers for one row that can't be used while the rows beside it can.

    The message begins with the row's place (file:line). Who reads many may pass over some (``data.bad_rows``).
    """


def is_of_the_machine(error: BaseException) -> bool:
    """Whether a disk or memory was full, which is nobody's code's fault."""
    full_disk = isinstance(error, OSError) and error.errno in DISK_ERRORS
    return full_disk or is_of_memory(error)


def remedy(error: OSError) -> str:
    """What to do about a file that could not be written."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "give the right to write there"
    return "free space"


def is_of_memory(error: BaseException) -> bool:
    """Whether there wasn't enough memory, this machine's or a device's."""
    return isinstance(error, MemoryError) or str(error).startswith("RESOURCE_EXHAUSTED")


@contextmanager
def refusing(complaint: str, advice: str) -> Iterator[None]:
    """Turns whatever a library raises that reads somebody's file into one InputError: complaint, its words, advice.

    For the doors where files come in. Libraries that decode a damaged file raise anything, and what is raised within
    such a door is about the file.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        told = str(error).strip().split("\n", 1)[0] or type(error).__name__
        raise InputError(f"{complaint}: {told}; {advice}") from None


@contextmanager
def of_a_row() -> Iterator[None]:
    """Says of every InputError that is raised within that it is about one row alone (``BadRow``)."""
    try:
        yield
    except InputError as error:
        raise BadRow(str(error)) from None


@contextmanager
def without_notes() -> Iterator[None]:
    """Pass an InputError on as it was raised, without what a library that it went through has added to it.

    Grain adds notes about its own datasets and frames to every exception, and the command line prints notes.
    """
    try:
        yield
    except InputError as error:
        raise type(error)(str(error)) from None
