"""The workflow drawn twice, in layers where there is room, and as a list with lines beside it on a phone.

A box leads to all that there is of its stage.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reasoning.findings.graph import Arrow, Box, Workflow, connected
from reasoning.report.document import anchor
from reasoning.report.graph_layout import layout
from reasoning.report.rows_svg import clipped
from reasoning.report.template import in_html, render

_PICTURE, _LEAST_WIDTH, _MOST_WIDTH = 1192.0, 84.0, 150.0
_BOX_HEIGHT, _CORNER, _GAP = 54.0, 5.0, 9.0
_EXAM_HEIGHT, _EXAM_WIDTH = 24.0, 230.0
_LAYER_GAP = 17.0
_LINE, _PADDING = 15.0, 9.0
_CHARACTER = 7.1
"""How wide a character of a box's name is."""

_NARROW_WIDTH, _LANE, _CURVE = 356.0, 13.0, 46.0
_NAME, _KIND, _TEXT = 8.3, 6.2, 6.4
"""How wide a character is of a name in the list, of what stands behind it, and of the lines below."""


@dataclass(frozen=True)
class _Frame:
    """A box in its place, with the lines that it shows, and the curve of its learning as a path."""

    box: Box
    x: float
    y: float
    width: float
    height: float
    lines: Sequence[str]
    curve: str = ""
    kind: str = ""


def drawn(flow: Workflow) -> Markup:
    """Both drawings; the page's style shows the one that fits."""
    drawings = Markup('<div class="graph-wide">{}</div><div class="graph-narrow">{}</div>').format(
        wide(flow), narrow(flow)
    )
    return Markup('<div class="graph">{}</div>').format(drawings)


def wide(flow: Workflow) -> Markup:
    """Boxes in layers from left to right, arrows between them, and the exams in a row below."""
    boxes, exams = connected(flow)
    known = {box.name: box for box in boxes}
    placed = layout(flow, _BOX_HEIGHT, _CORNER, _GAP)
    count = len(placed.layers)
    width = min(max((_PICTURE + _LAYER_GAP) / count - _LAYER_GAP, _LEAST_WIDTH), _MOST_WIDTH)
    lefts = [1 + number * (width + _LAYER_GAP) for number in range(count)]
    lines = [
        _line(arrow, [(lefts[number], y + 1) for y, number in placed.path(arrow.source, arrow.target)], width)
        for arrow in flow.arrows
    ]
    frames = [
        _frame(known[item], lefts[number], placed.across[item] + 1 - _BOX_HEIGHT / 2, width)
        for number, layer in enumerate(placed.layers)
        for item in layer
        if isinstance(item, str)
    ]
    foot, across = (placed.width + 14 if boxes else 1.0), min(_EXAM_WIDTH, _PICTURE / max(1, len(exams)) - _GAP)
    for place, box in enumerate(exams):
        text = clipped(" · ".join((box.name, *box.lines[:1])), int((across - 10) / _CHARACTER))
        frames.append(_Frame(box, 1 + place * (across + _GAP), foot, across, _EXAM_HEIGHT, (text,)))
    right = max((frame.x + frame.width for frame in frames), default=0.0)
    tall = foot + _EXAM_HEIGHT if exams else placed.width + 1
    return _rendered(lines=lines, frames=frames, width=right + 1, height=tall + 1, listed=False)


def narrow(flow: Workflow) -> Markup:
    """One box a row, in the run's order; beside them each parent has a lane down to what was made from it."""
    boxes, exams = connected(flow)
    lanes = lanes_of(boxes, flow.arrows)
    left = _LANE * (max(lanes.values(), default=-1) + 1) + 9
    tops, feet, y = dict[str, float](), dict[str, float](), 1.0
    frames = []
    for box in (*boxes, *exams):
        across = _NARROW_WIDTH - left - 1
        room = across - 2 * _PADDING
        lines = _narrow_lines(box, int(room / _TEXT))
        tops[box.name], feet[box.name] = y, y + 2 * _PADDING + 3 + _LINE * (1 + len(lines))
        curve = _curve(box.course, left + across - _CURVE - 8, y + 9, _CURVE, 14.0)
        name = clipped(box.name, int(room / _NAME))
        kind = clipped(box.kind, int((room - _NAME * (len(name) + 1) - (_CURVE + 8 if curve else 0)) / _KIND))
        frames.append(_Frame(box, left, y, across, feet[box.name] - y, (name, *lines), curve, kind))
        y = feet[box.name] + 9
    arrows = []
    for arrow in sorted(flow.arrows, key=lambda arrow: list(lanes).index(arrow.source)):
        x = left - _LANE * (lanes[arrow.source] + 1)
        start, end = feet[arrow.source] - 10, tops[arrow.target] + 14
        shaft = f"M{_n(left)},{_n(start)}H{_n(x + 4)}Q{_n(x)},{_n(start)} {_n(x)},{_n(start + 4)}"
        shaft += f"V{_n(end - 4)}Q{_n(x)},{_n(end)} {_n(x + 4)},{_n(end)}H{_n(left - 5)}"
        arrows.append((arrow, shaft, f"M{_n(left)},{_n(end)}l-6,-3.5v7z"))
    return _rendered(lines=arrows, frames=frames, width=_NARROW_WIDTH, height=y - 8, listed=True)


def _rendered(**values: object) -> Markup:
    return render("graph.html", in_html, anchor=anchor, **values)


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


def _narrow_lines(box: Box, room: int) -> list[str]:
    """The numbers, as many a line as fit into ``room`` characters."""
    lines: list[str] = []
    for part in box.lines:
        glue = ", " if box.group == "exam" else " · "
        if lines and len(lines[-1]) + len(glue) + len(part) <= room:
            lines[-1] += glue + part
        else:
            lines.append(part)
    return [clipped(line, room) for line in lines]


def _frame(box: Box, x: float, y: float, width: float) -> _Frame:
    """The name over at most two lines, or over one and below it the kind; at the foot the main number and the curve."""
    room = int((width - 8) / _CHARACTER)
    cut = max((place + 1 for place, letter in enumerate(box.name[:room]) if letter in "_-. "), default=room)
    second = box.kind if len(box.name) <= room else box.name[cut:]
    lines = (box.name if len(box.name) <= room else box.name[:cut], clipped(second, room))
    curve = _curve(box.course, x + 42, y + 34, width - 48, 13.0)
    return _Frame(box, x, y, width, _BOX_HEIGHT, (*lines, clipped(box.main, 6 if curve else room)), curve)


def _curve(values: Sequence[float], x: float, y: float, across: float, tall: float) -> str:
    """A course as a path within a rectangle, from its lowest to its highest value; none without two points."""
    if len(values) < 2:
        return ""
    low, spread = min(values), (max(values) - min(values)) or 1.0
    step = across / (len(values) - 1)
    places = (f"{_n(x + k * step)},{_n(y + tall - (value - low) / spread * tall)}" for k, value in enumerate(values))
    return f"M{'L'.join(places)}"


def _line(arrow: Arrow, stops: Sequence[tuple[float, float]], width: float) -> tuple[Arrow, str, str]:
    """From the right side of one box, straight past the layers between, to the left side of another.

    ``stops`` are (left side, middle) in each layer on the way; given are the paths of its shaft and its tip.
    """
    x, y = stops[0][0] + width, stops[0][1]
    path = f"M{_n(x)},{_n(y)}"
    for number, (left, middle) in enumerate(stops[1:], start=1):
        last = number == len(stops) - 1
        end = left - (6 if last else 0)
        half = (x + end) / 2
        path += f"C{_n(half)},{_n(y)} {_n(half)},{_n(middle)} {_n(end)},{_n(middle)}"
        x, y = (end, middle) if last else (left + width, middle)
        path += "" if last else f"H{_n(x)}"
    return arrow, path, f"M{_n(x + 6)},{_n(y)}l-7,-4v8z"


def _n(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")
