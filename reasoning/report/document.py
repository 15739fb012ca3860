"""What a report consists of before it is drawn: sections of a few kinds of blocks, alike wherever they are shown."""

from dataclasses import dataclass
from typing import Literal

from reasoning.report.curves import Chart
from reasoning.report.graph import Workflow

Tone = Literal["", "right", "partly", "wrong", "up", "down", "unsure"]
"""What a cell says at a glance; every tone also has a mark or a word, since not everybody sees colours."""


@dataclass(frozen=True)
class Cell:
    """One field of a grid: its text, a smaller second line, a tone; ``quoted`` is what a model or a task wrote."""

    text: str
    detail: str = ""
    tone: Tone = ""
    quoted: bool = False


NOTHING = Cell("–")
"""Where a table has nothing to say."""


@dataclass(frozen=True)
class Grid:
    """A table: ``columns`` name the cells of each row; the first column names the row. ``folded`` ones open on demand.

    ``numeric``: all columns but the first hold numbers, set flush right. ``groups`` are headings over the columns after
    the first, each over as many as it says.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: bool = True
    folded: bool = False
    groups: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences, each with what it is about first; ``warning`` where something is missing."""

    items: tuple[tuple[str, str], ...]
    warning: bool = False


@dataclass(frozen=True)
class Code:
    """A command or a listing, shown as it is; with a ``title`` it opens on demand."""

    text: str
    title: str = ""


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: str


@dataclass(frozen=True)
class Curves:
    """The charts of one learning stage."""

    stage: str
    charts: tuple[Chart, ...]


Block = Paragraph | Bullets | Code | Grid | Heading | Curves | Workflow


@dataclass(frozen=True)
class Section:
    """A part of the report with a heading of its own."""

    title: str
    blocks: tuple[Block, ...]

    @property
    def anchor(self) -> str:
        """The heading's name in links."""
        return "-".join(self.title.lower().split())


@dataclass(frozen=True)
class Report:
    """The whole: a title and its sections, in the order in which they are read."""

    title: str
    sections: tuple[Section, ...]
