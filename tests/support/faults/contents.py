"""``python -m faults.contents FOLDER …``: what must be equal of finished folders, each as one hash, told as JSON.

A process of its own reads the arrays, since the runner, from which others are forked, must not start JAX.
"""

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
from miniature import content

from reasoning.report.console import say

_ON_THE_WAY = ("checkpoints", "best", "references", "parts", "pieces")


def lasting(folder: Path) -> dict[str, str]:
    """By file: a hash of what must be equal; not what it was made under, nor what only an unfinished folder needs."""
    found = {name: value for name, value in content(folder).items() if not any(part in name for part in _ON_THE_WAY)}
    return {name: hashlib.sha256(repr(value).encode()).hexdigest() for name, value in found.items()}


def raw(folder: Path) -> dict[str, bytes]:
    """Every file's bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def main(folders: Sequence[str]) -> int:
    """Tells of each folder what ``lasting`` finds; devices are as many as the run had that is compared."""
    devices, *places = folders
    jax.config.update("jax_num_cpu_devices", int(devices))
    say(json.dumps([lasting(Path(place)) for place in places]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
