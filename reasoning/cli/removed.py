"""What a stage left out of files, on the terminal: how many documents of each reason, and one of each."""

from pathlib import Path

from rich.console import Console

from reasoning.core.files import read_json, read_jsonl
from reasoning.core.text import shortened
from reasoning.findings.stages import mapping, numeric
from reasoning.report.console import put
from reasoning.stages.clean import COUNTS, REMOVED

_CHARACTERS = 200


def show_removed(console: Console, folder: Path) -> None:
    """Prints what the stage of a folder left out; nothing where it left out nothing.

    Raises InputError for a list that can't be read.
    """
    told = mapping(read_json(folder / COUNTS)) if (folder / COUNTS).exists() else {}
    counts = numeric(mapping(told.get("removed")))
    listed = read_jsonl(folder / REMOVED) if counts and (folder / REMOVED).exists() else []
    if counts:
        of = numeric(told).get("looked_at", 0)
        put(console, f"\nleft out of {of:,.0f} documents read from files ({folder / REMOVED} lists the first)", "bold")
    for reason, count in counts.items():
        put(console, f"  {count:,.0f} {reason}")
        first = next((row for row in listed if row.get("reason") == reason), None)
        if first:
            put(console, shortened(f"{first.get('document')}: {first.get('text')}", _CHARACTERS), margin=4)
            put(console, shortened(f"is like {first.get('like')}", _CHARACTERS), "dim", margin=4)
