"""Runs what runs within the sandbox in a process of its own, outside of it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def ran(
    run: Callable[..., None], *arguments: object, given: str = ""
) -> tuple[subprocess.CompletedProcess[str], bytes]:
    """How a process that called a driver's ``run`` ended, and what it wrote to descriptor 4, or to 6."""
    read, write = os.pipe()
    places = f"import os; os.dup2({write}, 54); os.dup2(54, 4); os.dup2(54, 6)"
    program = f"{places}; from {run.__module__} import run; run(*{arguments!r})"
    done = subprocess.run(
        [sys.executable, "-c", program], input=given, capture_output=True, text=True, pass_fds=[write], cwd=CHECKOUT
    )
    os.close(write)
    with open(read, "rb") as pipe:
        return done, pipe.read()
