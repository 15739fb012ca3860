"""The report as Markdown, for readers of repositories: the same sections, a Mermaid graph, curves as sparklines."""

import re
from collections.abc import Iterator, Sequence
from html import escape

from reasoning.report.curves import Points, spaced
from reasoning.report.document import Block, Bullets, Cell, Code, Curves, Grid, Heading, Paragraph, Report
from reasoning.report.graph import Box, Workflow, connected
from reasoning.report.numbers import short
from reasoning.report.text import printable

_ACTIVE = re.compile(r"([\\`*{}\[\]#|~$!]|(?<!\w)[_@]|_(?!\w))")
"""What Markdown, or a site that shows it, may act on within a line; within a word underscores and @ are inert."""

_AUTOLINK = re.compile(r"(?i)(www)\.|(https?|ftp|mailto|xmpp)(:)")
_BARS = "▁▂▃▄▅▆▇█"
_BAR_COUNT = 24


def markdown(report: Report) -> str:
    """The whole file. Equal reports give equal bytes."""
    parts = [f"# {inline(report.title)}"]
    for section in report.sections:
        parts.append(f"## {inline(section.title)}")
        parts += ["\n".join(_block(block)) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def inline(text: str) -> str:
    """A text that shows as itself within a paragraph or a table's cell, on one line."""
    lines = printable(text).replace("\t", " ").split("\n")
    return "<br>".join(_inert(line) for line in lines)


def sparkline(points: Points) -> str:
    """The course of a series in a few characters, from its lowest to its highest value."""
    values = [points[place][1] for place in spaced(len(points), _BAR_COUNT)]
    low, high = min(values), max(values)
    if high == low:
        return _BARS[0] * len(values)
    return "".join(_BARS[min(int((value - low) / (high - low) * len(_BARS)), len(_BARS) - 1)] for value in values)


def mermaid(flow: Workflow) -> Iterator[str]:
    """The workflow as a Mermaid graph; exams stand beside it, without arrows."""
    boxes, exams = connected(flow)
    number = {box.name: f"n{place}" for place, box in enumerate((*boxes, *exams))}
    yield "graph TD"
    yield from (f'  {number[box.name]}["{_label(box)}"]' for box in (*boxes, *exams))
    for arrow in flow.arrows:
        line = "-->" if arrow.holds == "weights" else "-.->"
        yield f"  {number[arrow.source]} {line} {number[arrow.target]}"


def _inert(line: str) -> str:
    shown = _ACTIVE.sub(r"\\\1", line)
    shown = _AUTOLINK.sub(lambda match: f"{match[1]}\\." if match[1] else f"{match[2]}\\:", shown)
    return escape(shown, quote=False)


def _label(box: Box) -> str:
    lines = (box.name, box.kind, *box.lines)
    return "<br/>".join(_mermaid_text(line) for line in lines if line)


def _mermaid_text(line: str) -> str:
    """Mermaid's own entities for all but plain characters."""
    return re.sub(r"[^\w .,@/+\-→–]", lambda match: f"#{ord(match[0])};", printable(line).replace("\n", " "))


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Paragraph):
        yield inline(block.text)
    elif isinstance(block, Heading):
        yield f"### {inline(block.text)}"
    elif isinstance(block, Bullets):
        yield from (f"- {f'**{inline(subject)}**: ' if subject else ''}{inline(text)}" for subject, text in block.items)
    elif isinstance(block, Code):
        yield from _folded(block.title, _fenced(block.text)) if block.title else _fenced(block.text)
    elif isinstance(block, Curves):
        yield from _curves(block)
    elif isinstance(block, Workflow):
        yield from ("```mermaid", *mermaid(block), "```", "", "Solid arrows carry weights, dashed ones data.")
    else:
        table = [f"**{inline(block.caption)}**", "", *_table(block)]
        yield from _folded(block.caption, table[2:]) if block.folded else table


def _table(grid: Grid) -> Iterator[str]:
    over = [f"{name}: " for name, size in grid.groups for _ in range(size)] or [""] * (len(grid.columns) - 1)
    titles = (f"{group}{name}" for group, name in zip(over, grid.columns[1:], strict=True))
    yield _row([inline(name) for name in (grid.columns[0], *titles)])
    yield _row(["---", *(["---:" if grid.numeric else "---"] * (len(grid.columns) - 1))])
    yield from (_row([_field(cell) for cell in row]) for row in grid.rows)


def _row(fields: Sequence[str]) -> str:
    return f"| {' | '.join(fields)} |"


def _field(cell: Cell) -> str:
    """A cell; differences that the data tell from none are bold, as the page has them in colours."""
    text = inline(cell.text)
    if cell.quoted and text:
        text = f"<code>{text}</code>"
    text = f"**{text}**" if cell.tone in ("up", "down") else text
    return f"{text}<br><sub>{inline(cell.detail)}</sub>" if cell.detail else text


def _fenced(text: str) -> list[str]:
    """A listing in a fence longer than any that the text holds."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, *printable(text).split("\n"), fence]


def _folded(title: str, lines: Sequence[str]) -> list[str]:
    return ["<details>", f"<summary>{inline(title)}</summary>", "", *lines, "", "</details>"]


def _curves(block: Curves) -> Iterator[str]:
    yield f"### {inline(block.stage)}"
    yield ""
    yield _row(["metric", "first", "last", "course"])
    yield _row(["---", "---:", "---:", "---"])
    for chart in block.charts:
        for series in chart.series:
            fields = [inline(series.name), short(series.first), short(series.last), sparkline(series.smooth)]
            yield _row(fields)
