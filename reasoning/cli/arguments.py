"""Arguments of commands, read so that what is refused of them is shown and doesn't act on the terminal."""

import argparse
import contextlib
import io
from collections.abc import Callable, Sequence

from reasoning.report.console import complain


def parsed(parse: Callable[[Sequence[str]], argparse.Namespace], arguments: Sequence[str]) -> argparse.Namespace:
    """What ``parse``, a method of argparse's parser, makes of the arguments; its refusals name them as they came."""
    heard = io.StringIO()
    try:
        with contextlib.redirect_stderr(heard):
            return parse(arguments)
    finally:
        if said := heard.getvalue().rstrip("\n"):
            complain(said)
