"""Errors of code that users bring, told in one line with the user's own frames, and what it must give back."""

import linecache
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from reasoning.core.errors import InputError, is_of_the_machine
from reasoning.core.signatures import function_words
from reasoning.core.text import abridged

_PACKAGE, _PYTHON = Path(__file__).parents[1], Path(sysconfig.get_path("stdlib"))

INSTALLED = frozenset(("site-packages", "dist-packages"))
"""Names of the folders that packages are installed into."""

_MESSAGE, _LINE, _VALUE = 300, 80, 60
"""How many characters are shown of an error's message, of a line of code, and of a value."""

_FRAMES = 5
"""How many of the user's frames are shown, the innermost of them."""


@contextmanager
def answering_for_users() -> Iterator[None]:
    """Turns what a user's own code raises in the block into one InputError, whose cause it is.

    Our own errors pass, and so do those of a full disk or memory, and all in which no code of the user's takes part.
    """
    with answering_for(""):
        yield


@contextmanager
def answering_for(what: str, about: Callable[[BaseException], str] = lambda _: "") -> Iterator[None]:
    """As ``answering_for_users``, where ``what`` is called in the block, and ``about`` says with what it failed.

    An empty ``what`` is ours, to be blamed only where it calls code of the user's.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        told = None if _passes(error) else _blame(error, what, about(error))
        if told is None:
            raise
        refused = InputError(told)
        for note in getattr(error, "__notes__", ()):
            refused.add_note(note)
        raise refused from error


def _blame(error: BaseException, what: str, about: str) -> str | None:
    """What was raised, in one line: by which function (``what`` says it otherwise), about what, and where.

    The frames are the user's own, the innermost first, with its line of code and the shapes that it got. None where
    none is and nobody else is blamed.
    """
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__) if _is_users(frame.f_code)]
    if not frames and not what:
        return None
    first = str(error).strip().split("\n", 1)[0]  # libraries explain themselves at length below it
    raised = type(error).__name__ + (f": {abridged(first, _MESSAGE)}" if first else "")
    if not frames:  # a function of another package's, or one that can't be called like this
        return f"{what} raised {raised}{about}"
    innermost, line = frames[-1]
    what = what or f"{innermost.f_globals.get('__name__')}.{innermost.f_code.co_qualname}"
    places = [f"{Path(frame.f_code.co_filename).name}:{at} in {frame.f_code.co_name}" for frame, at in frames]
    code = linecache.getline(innermost.f_code.co_filename, line, innermost.f_globals).strip()
    places[-1] += f": {abridged(code, _LINE)}" if code else ""
    shapes = ", ".join(_shapes(innermost))
    told = ", called from ".join(reversed(places[-_FRAMES:]))
    return f"{what} raised {raised}{about} ({told})" + (f", where {shapes}" if shapes else "")


def concerned(error: BaseException, texts: Sequence[str]) -> str | None:
    """Which of ``texts`` the user's code was looking at as it failed: a local variable of its that holds one."""
    known = set(texts)
    for frame, _ in reversed([*traceback.walk_tb(error.__traceback__)]):
        if _is_users(frame.f_code):
            for value in reversed(frame.f_locals.values()):
                if isinstance(value, str) and value in known:
                    return value
    return None


def is_ours(function: Any) -> bool:
    """Whether a function, or a callable record's class, is of this package."""
    module = getattr(function, "__module__", None) or type(function).__module__
    return module.partition(".")[0] == _PACKAGE.name


def check_shape(what: str, function: Any, values: Any, shape: Sequence[int]) -> None:
    """Raises InputError, naming ``function``, which is ``what`` a setting asks for, where it gave no such array.

    A number is an array without axes.
    """
    given = () if isinstance(values, bool | int | float) else getattr(values, "shape", None)
    if given is None or tuple(given) != tuple(shape):
        told = repr(values)[:_VALUE] if given is None else f"an array of shape {list(given)}"
        raise InputError(
            f"{what} {function_words(function)} gave {told}, where one of shape {list(shape)} is wanted; mend what it "
            "returns"
        )


def _passes(error: BaseException) -> bool:
    """Whether an error says enough as it is: one of this package, of the disk or of memory."""
    return is_ours(type(error)) or is_of_the_machine(error)


def _is_users(code: CodeType) -> bool:
    """Whether code is the user's own: neither of this package, nor Python's, nor installed, nor made by any of them."""
    name = code.co_filename
    if name.startswith("<"):
        return name.startswith("<ipython-input")
    path = Path(name)
    return not INSTALLED & set(path.parts) and not any(map(path.is_relative_to, (_PACKAGE, _PYTHON)))


def _shapes(frame: FrameType) -> Iterator[str]:
    """The arguments of a function that are arrays, by type and shape."""
    code = frame.f_code
    for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
        value: Any = frame.f_locals.get(name)
        if hasattr(value, "shape") and hasattr(value, "dtype"):
            yield f"{name} is {value.dtype}{list(value.shape)}"
