"""The one door to the terminal, through which nothing that a model or a file wrote may act on it."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from reasoning.core.text import printable
from reasoning.report.document import Cell


def plain_text(text: str, style: str = "") -> Text:
    """Text as it is: rich reads no markup in a Text, and nothing that a terminal acts on is left."""
    return Text(printable(text), style=style)


def headed(head: str, text: str) -> Text:
    """A line that begins in bold."""
    return plain_text(head, "bold") + plain_text(text)


def say(text: str) -> None:
    """Prints a line at once, for those who read along."""
    print(printable(text), flush=True)


def complain(text: str) -> None:
    """Prints an error or a warning where such lines go."""
    print(printable(text), file=sys.stderr, flush=True)


def put(console: Console, content: str | Text | Table, style: str = "", wrapped: bool = False, margin: int = 0) -> None:
    """Prints a table or a text; ``wrapped``: its lines are broken at the console's width, else by the terminal."""
    shown = plain_text(content, style) if isinstance(content, str) else content
    if margin:
        console.print(Padding(shown, (0, 0, 0, margin), expand=False))
    else:
        console.print(shown, soft_wrap=not (wrapped or isinstance(shown, Table)))


@contextmanager
def live(console: Console) -> Iterator[Callable[[Sequence[Text | Table]], None]]:
    """A place on the terminal whose content is replaced by each call; the last stays."""
    with Live(console=console, auto_refresh=False) as shown:
        yield lambda parts: shown.update(Group(*parts), refresh=True)


def put_piece(console: Console, text: str) -> None:
    """Prints a piece of a line or of several, at once; an empty one ends the line."""
    console.print(plain_text(text), soft_wrap=True, end="" if text else "\n")


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
