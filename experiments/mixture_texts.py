"""Texts for pretrain_mixture.gin, out of what every Python environment of this project holds; nothing is downloaded.

python experiments/mixture_texts.py data/mixture

pages.jsonl.gz     descriptions of the installed packages, which are their pages on the web; each under its own
                   licence, in the column ``licence``, by which permissive_alone chooses
notes.parquet      documentation strings of Python's standard library: short entries on one thing each (PSF licence)
book/{train,test}  chapters of Python's language reference, as pydoc shows them (PSF licence)

A tenth of each, chosen by the name's checksum, is the split ``test``.
"""

import ast
import gzip
import importlib.metadata
import json
import sys
import sysconfig
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from pydoc_data import topics
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reasoning.core.errors import InputError
from reasoning.report.console import say

_PERMISSIVE = ("mit", "bsd", "apache", "psf", "python software foundation", "isc")
_SHORTEST = 200
"""Characters of a documentation string that says something."""


def permissive_alone(row: Mapping[str, Any]) -> bool:
    """Whether a page's licence lets everybody use it."""
    licence = row["licence"].lower()
    return any(word in licence for word in _PERMISSIVE) and "gpl" not in licence


def write_texts(folder: Path) -> dict[str, int]:
    """Write the three sources into a folder, and give how many texts each has. Raises InputError where one has none."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = sorted(_pages(), key=lambda row: row["name"])
    notes = sorted(_notes(Path(sysconfig.get_path("stdlib"))), key=lambda row: row["name"])
    chapters = topics.topics
    found = {"pages": len(pages), "notes": len(notes), "chapters": len(chapters)}
    for name, count in found.items():
        if not count:
            raise InputError(
                f"this Python has no {name}; run it with the environment that this project is installed in"
            )
    with gzip.open(folder / "pages.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in pages)
    pq.write_table(pa.Table.from_pylist(notes), folder / "notes.parquet", row_group_size=500)
    for name, text in chapters.items():
        place = folder / "book" / _split(name)
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{name.replace('/', '_')}.txt").write_text(text, encoding="utf-8")
    return found


def _split(name: str) -> str:
    return "test" if zlib.crc32(name.encode()) % 10 == 0 else "train"


def _pages() -> Iterator[dict[str, str]]:
    for package in importlib.metadata.distributions():
        described = package.metadata
        text = str(described.get_payload()).strip()
        if len(text) >= _SHORTEST:
            stated = [described.get("License-Expression"), described.get("License")]
            stated += [each for each in described.get_all("Classifier") or () if each.startswith("License")]
            licence = "; ".join(str(each).split("\n", 1)[0] for each in stated if each)
            yield {"name": package.name, "text": text, "licence": licence, "split": _split(package.name)}


def _notes(library: Path) -> Iterator[dict[str, str]]:
    for file in sorted(library.rglob("*.py")):
        name = file.relative_to(library).with_suffix("").as_posix()
        if {"test", "tests", "site-packages"} & set(name.split("/")) or "lib2to3/tests" in name:
            continue
        try:
            tree = ast.parse(file.read_bytes())
        except SyntaxError:  # files that show what the parser refuses
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node) or ""
                if len(text) >= _SHORTEST:
                    entry = f"{name}.{getattr(node, 'name', '')}:{getattr(node, 'lineno', 0)}"
                    yield {"name": entry, "text": text, "split": _split(name)}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python experiments/mixture_texts.py FOLDER")
    counted = write_texts(Path(sys.argv[1]))
    say(", ".join(f"{count} {name}" for name, count in counted.items()) + f" in {sys.argv[1]}")
