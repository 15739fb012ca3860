"""One process on this machine."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn


def become(command: Sequence[str]) -> NoReturn:
    """Become ``command``: its output, signals and exit code are the caller's own, with no parent in between."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execvp(command[0], list(command))
