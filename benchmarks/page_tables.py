"""Tables of docs pages that a command measures, a row at a time: what was found stays where the command is cut off."""

import re
from pathlib import Path

from reasoning.core.files import write_atomic

DOCS = Path(__file__).parents[1] / "docs"


def put_row(page: Path, mark: str, head: str, row: str) -> None:
    """Puts a row into the table between a page's comments ``mark: begin`` and ``mark: end``, in order among the others.

    A row is known by what stands in its first pair of backticks; the one of that name is replaced. Numbers in names
    are in order as numbers.
    """
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    before, rest = page.read_text(encoding="utf-8").split(begin)
    table, after = rest.split(end)
    rows = {line.split("`")[1]: line for line in (*table.splitlines(), row) if line.startswith("| `")}
    lines = "\n".join([head, *(rows[name] for name in sorted(rows, key=_by_numbers))])
    write_atomic(page, f"{before}{begin}\n{lines}\n{end}{after}")


def _by_numbers(name: str) -> list[str | int]:
    """A name in parts, of which every second is a number."""
    return [int(part) if number % 2 else part for number, part in enumerate(re.split(r"(\d+)", name))]
