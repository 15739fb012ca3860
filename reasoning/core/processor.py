"""What this machine's processor can do: XLA's CPU libraries choose by it, so what is written for them does too."""

import functools
from pathlib import Path

_TOLD = Path("/proc/cpuinfo")


def described(*names: str) -> list[str]:
    """The different lines ``name: value`` that the system tells of processors, sorted; none where it tells nothing."""
    try:
        lines = _TOLD.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return sorted({line for line in lines if line.startswith(names)})


@functools.cache
def has(instructions: str) -> bool:
    """Whether processors have a set of instructions, as Linux names it (``avx512f``); False where nothing tells."""
    flags = [line.split() for line in described("flags", "Features")]
    return bool(flags) and all(instructions in line for line in flags)
