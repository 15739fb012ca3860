"""Bytes that change while nobody looks."""

import random
from collections.abc import Sequence
from pathlib import Path

from faults.cases import Case

READ_AGAIN = ("run.json", "resolved.gin")
"""Files of a run's own that the same command reads; its report is written anew, and what it remembers is a cache."""

_PAGE = 4096


def damage(case: Case, files: Sequence[Path]) -> str:
    """Damages one of these files in the case's way, and says which and how; empty where there is none with content."""
    full = sorted(path for path in files if path.is_file() and path.stat().st_size)
    if not full:
        return ""
    file = full[int(case.place * len(full))]
    content = bytearray(file.read_bytes())
    at = int(case.moment * len(content))
    way = case.way
    if way == "zero" and not any(content[at : at + _PAGE]):
        way = "flip"
    if way == "delete":
        file.unlink()
        return f"{file.name} deleted"
    if way == "truncate":
        del content[at:]
    elif way == "zero":
        content[at : at + _PAGE] = bytes(len(content[at : at + _PAGE]))
    else:
        content[at] ^= 1 << random.Random(case.number).randrange(8)
    file.write_bytes(content)
    return f"{file.name} {way} at {at}"


def of_checkpoint(partial: Path) -> list[Path]:
    """The files of the newest checkpoint in an unfinished stage's folder."""
    steps = sorted((partial / "checkpoints").glob("step_????????"))
    return [path for path in steps[-1].rglob("*") if path.is_file()] if steps else []


def of_work(partial: Path) -> list[Path]:
    """What an unfinished stage has done, checkpoints left out."""
    outside = [path for path in partial.rglob("*") if "checkpoints" not in path.relative_to(partial).parts]
    return [path for path in outside if path.is_file()]


def of_run(out: Path) -> list[Path]:
    """The run's own files beside its artifacts."""
    return [path for path in out.iterdir() if path.is_file() and path.name != ".lock"]
