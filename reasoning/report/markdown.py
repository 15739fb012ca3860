"""The report as Markdown, for readers of repositories: the same sections, a Mermaid graph, curves as sparklines."""

import re
from html import escape
from typing import Any

from markupsafe import Markup

from reasoning.core.text import printable
from reasoning.findings.graph import Workflow, connected
from reasoning.report.document import Grid, Report
from reasoning.report.sparklines import sparkline
from reasoning.report.template import render

_ACTIVE = re.compile(r"([\\`*{}\[\]#|~$!]|(?<!\w)[_@]|_(?!\w))")
"""What Markdown, or a site that shows it, may act on within a line; within a word underscores and @ are inert."""

_AUTOLINK = re.compile(r"(?i)(www)\.|(https?|ftp|mailto|xmpp)(:)")


def markdown(report: Report) -> str:
    """The whole file. Equal reports give equal bytes."""
    return rendered("report.md", report=report)


def rendered(template: str, **values: object) -> str:
    """What a Markdown template of ``templates/`` makes of the values, whose texts all show as themselves."""
    helpers = {"fenced": _fenced, "mermaid": mermaid, "sparkline": sparkline, "titles": _titles}
    return str(render(template, _in_markdown, **helpers, **values))


def inline(text: str) -> str:
    """A text that shows as itself within a paragraph or a table's cell, on one line."""
    lines = printable(text).replace("\t", " ").split("\n")
    return "<br>".join(_inert(line) for line in lines)


def mermaid(flow: Workflow) -> Markup:
    """The workflow as a Mermaid graph; exams stand beside it, without arrows."""
    boxes, exams = connected(flow)
    number = {box.name: f"n{place}" for place, box in enumerate((*boxes, *exams))}
    lines = ["graph TD"]
    for box in (*boxes, *exams):
        label = "<br/>".join(_mermaid_text(line) for line in (box.name, box.kind, *box.lines) if line)
        lines.append(f'  {number[box.name]}["{label}"]')
    for arrow in flow.arrows:
        line = "-->" if arrow.holds == "weights" else "-.->"
        lines.append(f"  {number[arrow.source]} {line} {number[arrow.target]}")
    return Markup("\n".join(lines))


def _inert(line: str) -> str:
    shown = _ACTIVE.sub(r"\\\1", line)
    shown = _AUTOLINK.sub(lambda match: f"{match[1]}\\." if match[1] else f"{match[2]}\\:", shown)
    return escape(shown, quote=False)


def _mermaid_text(line: str) -> str:
    """Mermaid's own entities for all but plain characters."""
    return re.sub(r"[^\w .,@/+\-→–]", lambda match: f"#{ord(match[0])};", printable(line).replace("\n", " "))


def _titles(grid: Grid) -> list[str]:
    """The names of columns; groups stand before those that they are over, since Markdown has one heading line."""
    groups = [f"{name}: " for name, size in grid.groups for _ in range(size)] or [""] * (len(grid.columns) - 1)
    return [grid.columns[0], *map("".join, zip(groups, grid.columns[1:], strict=True))]


def _fenced(text: str) -> Markup:
    """A listing in a fence longer than any that the text holds."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup("\n".join((fence, printable(text), fence)))


def _in_markdown(value: Any) -> Any:
    return Markup(inline(value)) if isinstance(value, str) and not isinstance(value, Markup) else value
