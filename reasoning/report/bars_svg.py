"""Stacked bars on one axis: what adds up to a whole, beside a limit."""

from markupsafe import Markup

from reasoning.report.document import Bar, Bars
from reasoning.report.dots_svg import clipped
from reasoning.report.template import in_html, render

_WIDTH, _LEFT, _RIGHT, _ROW, _FOOT = 640.0, 190.0, 540.0, 18.0, 20.0
_NAME = 30


def drawn(bars: Bars) -> Markup:
    """The picture with its title and what its colours mean; each bar's words are its text alternative."""
    limit = 0.0 if bars.limit is None else bars.limit.value
    longest = max([limit, *(sum(part.value for part in bar.parts) for bar in bars.bars)]) or 1.0
    scale = (_RIGHT - _LEFT) / longest
    foot = _ROW * len(bars.bars)
    return render(
        "bars.html",
        in_html,
        title=bars.title,
        kinds=bars.kinds,
        bars=[_bar(bar, bars.kinds, place, scale) for place, bar in enumerate(bars.bars)],
        limit=None if bars.limit is None else {"x": _LEFT + scale * limit, "text": bars.limit.text},
        box={"width": _WIDTH, "height": foot + _FOOT, "left": _LEFT, "foot": foot},
    )


def _bar(bar: Bar, kinds: tuple[str, ...], place: int, scale: float) -> dict[str, object]:
    parts, at = [], _LEFT
    for part in bar.parts:
        width = scale * part.value
        said = f"{part.name} {part.text}"
        parts.append({"x": at, "width": width, "kind": kinds.index(part.name), "said": said})
        at += width
    return {
        "name": clipped(bar.name, _NAME),
        "said": f"{bar.name}: {bar.text}" + "".join(f", {part.name} {part.text}" for part in bar.parts),
        "text": bar.text,
        "tone": bar.tone,
        "y": _ROW * (place + 0.5),
        "parts": parts,
    }
