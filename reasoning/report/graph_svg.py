"""The workflow drawn twice: in layers where there is room, and as a list with lines beside it on a phone."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reasoning.core.text import shortened
from reasoning.report.graph import Arrow, Box, Workflow, connected
from reasoning.report.graph_layout import layout
from reasoning.report.template import in_html, render

_BOX_WIDTH, _CORNER_WIDTH, _GAP = 158.0, 6.0, 14.0
_LAYER_GAP = 34.0
_LINE, _PADDING = 15.0, 9.0
_CHARACTERS = 24
"""Characters of the small type that fit into a box."""

_NARROW_WIDTH, _LANE = 356.0, 13.0
_NARROW_CHARACTERS = 44


@dataclass(frozen=True)
class _Frame:
    """A box in its place, with the lines that it shows below its name and kind."""

    box: Box
    x: float
    y: float
    width: float
    height: float
    lines: Sequence[str]


_Line = tuple[Arrow, str, str]
"""An arrow in its place: the paths of its shaft and its tip."""


def drawn(flow: Workflow) -> Markup:
    """Both drawings; the page's style shows the one that fits."""
    return render("graphs.html", in_html, wide=wide(flow), narrow=narrow(flow))


def wide(flow: Workflow) -> Markup:
    """Boxes in layers from top to bottom, arrows between them, and the exams in rows below."""
    boxes, exams = connected(flow)
    known = {box.name: box for box in boxes}
    placed = layout(flow, _BOX_WIDTH, _CORNER_WIDTH, _GAP)
    tops, heights, y = list[float](), list[float](), 1.0
    for layer in placed.layers:
        heights.append(max((_height(known[item]) for item in layer if isinstance(item, str)), default=0.0))
        tops.append(y)
        y += heights[-1] + _LAYER_GAP
    lines = []
    for arrow in flow.arrows:
        path = placed.path(arrow.source, arrow.target)
        stops = [(x + 1, tops[number], heights[number]) for x, number in path]
        lines.append(_line(arrow, stops, tops[path[0][1]] + _height(known[arrow.source])))
    frames = [
        _frame(known[item], placed.across[item] + 1 - _BOX_WIDTH / 2, tops[number])
        for number, layer in enumerate(placed.layers)
        for item in layer
        if isinstance(item, str)
    ]
    width = max(placed.width, (_BOX_WIDTH + _GAP) * min(len(exams), 4) - _GAP) + 2
    y = y - _LAYER_GAP if exams and not boxes else y
    for start in range(0, len(exams), 4):
        row = exams[start : start + 4]
        frames += [_frame(box, 1 + place * (_BOX_WIDTH + _GAP), y) for place, box in enumerate(row)]
        y += max(map(_height, row)) + _GAP
    tall = y - (_GAP if exams else _LAYER_GAP) + 1
    return render("graph.html", in_html, lines=lines, frames=frames, width=width, height=tall, listed=False)


def narrow(flow: Workflow) -> Markup:
    """One box a row, in the run's order; beside them each parent has a lane down to what was made from it."""
    boxes, exams = connected(flow)
    lanes = lanes_of(boxes, flow.arrows)
    left = _LANE * (max(lanes.values(), default=-1) + 1) + 9
    tops, feet, y = dict[str, float](), dict[str, float](), 1.0
    frames = []
    for box in (*boxes, *exams):
        lines = _narrow_lines(box)
        tops[box.name], feet[box.name] = y, y + 2 * _PADDING + 3 + _LINE * (1 + len(lines))
        frames.append(_Frame(box, left, y, _NARROW_WIDTH - left - 1, feet[box.name] - y, lines))
        y = feet[box.name] + 9
    arrows = []
    for arrow in sorted(flow.arrows, key=lambda arrow: list(lanes).index(arrow.source)):
        x = left - _LANE * (lanes[arrow.source] + 1)
        start, end = feet[arrow.source] - 10, tops[arrow.target] + 14
        shaft = f"M{_n(left)},{_n(start)}H{_n(x + 4)}Q{_n(x)},{_n(start)} {_n(x)},{_n(start + 4)}"
        shaft += f"V{_n(end - 4)}Q{_n(x)},{_n(end)} {_n(x + 4)},{_n(end)}H{_n(left - 5)}"
        arrows.append((arrow, shaft, f"M{_n(left)},{_n(end)}l-6,-3.5v7z"))
    return render("graph.html", in_html, lines=arrows, frames=frames, width=_NARROW_WIDTH, height=y - 8, listed=True)


def lanes_of(boxes: Sequence[Box], arrows: Sequence[Arrow]) -> dict[str, int]:
    """A lane for each parent, the nearest one that is free from its own row down to its last child's."""
    row = {box.name: number for number, box in enumerate(boxes)}
    ends: list[int] = []
    lanes: dict[str, int] = {}
    for box in boxes:
        children = [row[arrow.target] for arrow in arrows if arrow.source == box.name]
        if not children:
            continue
        lane = next((number for number, end in enumerate(ends) if end <= row[box.name]), len(ends))
        ends[lane : lane + 1] = [max(children)]
        lanes[box.name] = lane
    return lanes


def _height(box: Box) -> float:
    """A box's height in the drawing in layers."""
    return 2 * _PADDING + _LINE * (2 + len(_shown_lines(box)))


def _shown_lines(box: Box) -> tuple[str, ...]:
    if box.group != "exam":
        return box.lines
    return box.lines if len(box.lines) <= 10 else (*box.lines[:9], f"and {len(box.lines) - 9} more")


def _narrow_lines(box: Box) -> list[str]:
    """The numbers, as many a line as fit."""
    lines: list[str] = []
    for part in box.lines:
        glue = ", " if box.group == "exam" else " · "
        if lines and len(lines[-1]) + len(glue) + len(part) <= _NARROW_CHARACTERS:
            lines[-1] += glue + part
        else:
            lines.append(part)
    return lines


def _frame(box: Box, x: float, y: float) -> _Frame:
    lines = [shortened(line, _CHARACTERS) for line in _shown_lines(box)]
    return _Frame(box, x, y, _BOX_WIDTH, _height(box), lines)


def _line(arrow: Arrow, stops: Sequence[tuple[float, float, float]], bottom: float) -> _Line:
    """From the foot of one box, straight down past the layers between, to the head of another.

    ``stops`` are (middle, top, height) of each layer on the way; ``bottom`` is the foot of the source's box.
    """
    x, _, _ = stops[0]
    path, y = f"M{_n(x)},{_n(bottom)}", bottom
    for number, (next_x, top, tall) in enumerate(stops[1:], start=1):
        last = number == len(stops) - 1
        end = top - (6 if last else 0)
        middle = (y + end) / 2 if number == 1 else end - _LAYER_GAP / 2
        path += f"C{_n(x)},{_n(middle)} {_n(next_x)},{_n(middle)} {_n(next_x)},{_n(end)}"
        x, y = next_x, end
        if not last:
            y = top + tall
            path += f"V{_n(y)}"
    return arrow, path, f"M{_n(x)},{_n(y + 6)}l-4,-7h8z"


def _n(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")
