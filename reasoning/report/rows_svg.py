"""Rows on one axis, each named before and told behind: numbers as dots with intervals, and what adds up as bars."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from markupsafe import Markup

from reasoning.findings.numbers import CANT_TELL, ends, number
from reasoning.report.axes import Axis
from reasoning.report.document import Bar, Bars, Dots, Mark
from reasoning.report.template import in_html, render

_ROW, _TALL_ROW, _FOOT = 18.0, 31.0, 20.0
_NAME, _LINE, _TOLD_LINE = 17, 52, 40
"""Characters of a name before its dot, in a line of its own above it, and in one that ends in a sum."""

_COLOURS = 8
"""Of kinds of pieces, in the page's style."""

_TOLD = {"up": ", higher", "down": ", lower", "unsure": f", {CANT_TELL}"}


def dots(dots: Dots) -> Markup:
    """Who is where, and how surely: shares on an axis from none to all, long names in lines of their own."""
    values = [end for mark in dots.marks for end in (mark.value, mark.low, mark.high) if end is not None]
    low, high = min(values), max(values)
    if not dots.zero and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif dots.zero:
        low, high = min(low, 0.0), max(high, 0.0)
    margin = 0.0 if (low, high) == (0.0, 1.0) else 0.04 * ((high - low) or max(abs(high), 1.0))
    above = max(len(mark.name) for mark in dots.marks) > _NAME
    x = Axis(low - margin, high + margin, 16.0 if above else 126.0, 306.0)
    room = _LINE if above else _NAME
    rows = [_named(mark, place, room, above) | _dot(mark, x) for place, mark in enumerate(dots.marks)]
    return _drawn("dots", dots.title, rows, x, 360.0, ticks=x.labels(), line=(x(0.0), "") if dots.zero else None)


def bars(bars: Bars) -> Markup:
    """Stacked bars beside a limit; and once more for phones, with names and sums in lines above their bars."""
    limit = bars.limit
    longest = max(
        [0.0 if limit is None else limit.value, *(sum(part.value for part in bar.parts) for bar in bars.bars)]
    )
    others = len(bars.kinds) - bars.last
    colours = {
        name: (at if at < others else _COLOURS - len(bars.kinds) + at) % _COLOURS for at, name in enumerate(bars.kinds)
    }
    drawn: list[Markup] = []
    for kind, x, width, above in (
        ("bars bars-wide", Axis(0.0, longest or 1.0, 190.0, 540.0), 640.0, False),
        ("bars bars-narrow", Axis(0.0, longest or 1.0, 1.0, 320.0), 360.0, True),
    ):
        room = _TOLD_LINE if above else 30
        rows = [_named(bar, place, room, above) | _bar(bar, colours, x) for place, bar in enumerate(bars.bars)]
        line = None if limit is None else (x(limit.value), limit.text)
        drawn.append(_drawn(kind, bars.title, rows, x, width, kinds=tuple(colours.items()), line=line))
    return Markup("").join(drawn)


def clipped(text: str, length: int) -> str:
    """The text, or its beginning with an ellipsis, in so many characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…" if length > 1 else ""


def _narrowed(text: str, length: int) -> str:
    """The text, or its two ends in so many characters: arms that differ in a value alone stay apart."""
    return text if len(text) <= length else f"{text[:4]}…{text[5 - length :]}"


def _drawn(kind: str, title: str, rows: Sequence[dict[str, Any]], x: Axis, width: float, **more: object) -> Markup:
    """The picture with its title; each row's words are its text alternative."""
    foot = rows[-1]["y"] + _ROW / 2 if rows else 0.0
    box = {"width": width, "height": foot + _FOOT, "left": x.start, "foot": foot}
    return render("rows.html", in_html, **{"kinds": (), "ticks": ()} | more, kind=kind, title=title, rows=rows, box=box)


def _named(row: Mark | Bar, place: int, characters: int, above: bool) -> dict[str, Any]:
    y = _TALL_ROW * (place + 1) - _ROW / 2 if above else _ROW * (place + 0.5)
    name = _narrowed(row.name, characters)
    return {"name": name, "above": above, "text": row.text, "tone": row.tone, "y": y}


def _dot(mark: Mark, x: Axis) -> dict[str, object]:
    low, high = mark.low, mark.high
    if low is None or high is None:
        return {"said": f"{mark.name}: {mark.text}, no interval", "at": x(mark.value), "span": None}
    told = ends(low, high, partial(number, scale=max(abs(low), abs(high)))) + _TOLD.get(mark.tone, "")
    return {"said": f"{mark.name}: {mark.text}, 95 % interval {told}", "at": x(mark.value), "span": (x(low), x(high))}


def _bar(bar: Bar, colours: Mapping[str, int], x: Axis) -> dict[str, object]:
    parts, before = [], 0.0
    for part in bar.parts:
        said, width = f"{part.name} {part.text}", x(part.value) - x.start
        parts.append({"x": x(before), "width": width, "kind": colours[part.name], "said": said})
        before += part.value
    return {"said": f"{bar.name}: {bar.text}" + "".join(f", {part['said']}" for part in parts), "parts": parts}
