"""Texts and tables on the terminal, on which nothing that a model or a file wrote may act."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from reasoning.report.document import Cell
from reasoning.core.text import printable


def plain_text(text: str, style: str = "") -> Text:
    """Text as it is: rich reads no markup in a Text, and nothing that a terminal acts on is left."""
    return Text(printable(text), style=style)


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Iterable[Cell | Text | str]],
    numeric: bool = False,
    padding: int = 1,
) -> Table:
    """A table whose cells are broken, never cut; ``numeric``: all columns but the first are set flush right."""
    shown = Table(
        title=plain_text(title, "bold") if title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, padding, 0, 1),
    )
    for number, name in enumerate(columns):
        shown.add_column(plain_text(name), justify="right" if numeric and number else "left", overflow="fold")
    for row in rows:
        shown.add_row(*map(_cell, row))
    return shown


def _cell(content: Cell | Text | str) -> Text:
    """A cell's detail stands below its text; a difference that the data tell from none is bold."""
    if isinstance(content, Text):
        return content
    if isinstance(content, str):
        return plain_text(content)
    lines = f"{content.text}\n{content.detail}" if content.detail else content.text
    return plain_text(lines, "bold" if content.tone in ("up", "down") else "")
