"""Numbers as dots with intervals on one axis, a row each: who is where, and how surely, at a glance."""

from markupsafe import Markup

from reasoning.findings.numbers import ends, number
from reasoning.report.curves_svg import labelled, ticks
from reasoning.report.document import Dots
from reasoning.report.template import in_html, render

_WIDTH, _LEFT, _RIGHT, _ROW, _FOOT = 360.0, 126.0, 306.0, 18.0, 20.0
_NAME = 19


def drawn(dots: Dots) -> Markup:
    """The picture with its title; each row's words are its text alternative."""
    values = [end for mark in dots.marks for end in (mark.value, mark.low, mark.high) if end is not None]
    low, high = min(values), max(values)
    if not dots.zero and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif dots.zero:
        low, high = min(low, 0.0), max(high, 0.0)
    margin = 0.0 if (low, high) == (0.0, 1.0) else 0.04 * ((high - low) or max(abs(high), 1.0))
    low, high = low - margin, high + margin

    def x(value: float) -> float:
        return _LEFT + (value - low) / (high - low) * (_RIGHT - _LEFT)

    marks = [
        {
            "name": clipped(mark.name, _NAME),
            "said": f"{mark.name}: {mark.text}{_ends(mark.low, mark.high)}",
            "text": mark.text,
            "tone": mark.tone,
            "y": _ROW * (place + 0.5),
            "at": x(mark.value),
            "span": None if mark.low is None or mark.high is None else (x(mark.low), x(mark.high)),
        }
        for place, mark in enumerate(dots.marks)
    ]
    foot = _ROW * len(marks)
    return render(
        "dots.html",
        in_html,
        title=dots.title,
        marks=marks,
        ticks=[(x(tick), label) for tick, label in labelled(ticks(low, high, wanted=4))],
        zero=x(0.0) if dots.zero else None,
        box={"width": _WIDTH, "height": foot + _FOOT, "left": _LEFT, "right": _RIGHT, "foot": foot},
    )


def clipped(text: str, length: int) -> str:
    """The text, or its beginning with an ellipsis, in so many characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _ends(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return ", no interval"
    return f", 95 % interval {ends(low, high, lambda end: number(end, scale=max(abs(low), abs(high))))}"
