"""What a report consists of before it is drawn: sections of a few kinds of blocks, alike wherever they are shown."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from reasoning.findings.curves import Chart
from reasoning.findings.graph import Workflow

if TYPE_CHECKING:  # What reads runs imports JAX, which drawing needs not.
    from reasoning.findings.notes import Note

Tone = Literal["", "right", "partly", "wrong", "up", "down", "unsure", "heat1", "heat2", "heat3", "heat4"]
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
    """A table: ``columns`` name the cells of each row; the first column names the row. ``folded`` ones open on demand;
    on the page all do, but for those that are ``open``.

    ``numeric``: all columns but the first hold numbers, set flush right. ``groups`` are headings over the columns after
    the first, each over as many as it says.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: bool = True
    folded: bool = False
    groups: tuple[tuple[str, int], ...] = ()
    open: bool = False


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences, each with what it is about first, below its ``title``; ``warning``: something is wrong."""

    items: tuple[tuple[str, str], ...]
    title: str = ""
    warning: bool = False


@dataclass(frozen=True)
class Code:
    """A command or a listing, shown as it is; with a ``title`` it opens on demand."""

    text: str
    title: str = ""


@dataclass(frozen=True)
class Curves:
    """A few charts that belong together; with a ``title`` they open on demand unless they are ``open``."""

    charts: tuple[Chart, ...]
    title: str = ""
    open: bool = False


@dataclass(frozen=True)
class Mark:
    """A number on an axis, or a piece of a bar: whose it is, its value, also in words, and its interval's ends."""

    name: str
    value: float
    text: str
    low: float | None = None
    high: float | None = None
    tone: Tone = ""


@dataclass(frozen=True)
class Dots:
    """Numbers of one kind as dots with their 95 % intervals on one axis; ``zero``: with a line there."""

    title: str
    marks: tuple[Mark, ...]
    zero: bool = False


@dataclass(frozen=True)
class Bar:
    """Pieces beside each other, and what they are together in words."""

    name: str
    parts: tuple[Mark, ...]
    text: str
    tone: Tone = ""


@dataclass(frozen=True)
class Bars:
    """Bars on one axis from 0, of pieces of the kinds ``kinds``; ``limit`` is a line that bars shouldn't pass.

    Of the kinds so many ``last`` ones have the last colours, however many others there are.
    """

    title: str
    kinds: tuple[str, ...]
    bars: tuple[Bar, ...]
    limit: Mark | None = None
    last: int = 0


@dataclass(frozen=True)
class Glance:
    """The first screen: what ran, a verdict, a few notes, scores on an axis, and the workflow as a picture."""

    ran: str
    verdict: str
    notes: tuple["Note", ...]
    dots: tuple[Dots, ...] = ()
    flow: Workflow | None = None


@dataclass(frozen=True)
class Panel:
    """All of one stage; on the page it opens where its box is clicked."""

    stage: str
    title: str
    blocks: tuple["Block", ...]

    @property
    def anchor(self) -> str:
        """The panel's name in links."""
        return anchor(self.stage)


def anchor(stage: str = "", part: str = "") -> str:
    """The name in links of a stage's panel, or of a part of the report by its title."""
    return f"stage-{stage}" if stage else "-".join(part.lower().split())


Block = Paragraph | Bullets | Code | Grid | Curves | Dots | Bars | Glance | Panel


@dataclass(frozen=True)
class Section:
    """A part of the report with a heading of its own."""

    title: str
    blocks: tuple[Block, ...]

    @property
    def anchor(self) -> str:
        """The heading's name in links."""
        return anchor(part=self.title)


@dataclass(frozen=True)
class Report:
    """The whole: a title and its sections, in the order in which they are read."""

    title: str
    sections: tuple[Section, ...]
