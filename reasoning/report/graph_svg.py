"""The workflow drawn twice: in layers where there is room, and as a list with lines beside it on a phone."""

from collections.abc import Sequence

from reasoning.report.graph import Arrow, Box, Workflow, connected
from reasoning.report.graph_layout import layout
from reasoning.report.markup import Markup, element, joined
from reasoning.report.text import shortened

BOX_WIDTH, CORNER_WIDTH, GAP = 158.0, 6.0, 14.0
LAYER_GAP = 34.0
LINE, PADDING = 15.0, 9.0
CHARACTERS = 24
"""Characters of the small type that fit into a box."""

NARROW_WIDTH, LANE = 356.0, 13.0
NARROW_CHARACTERS = 44


def drawn(flow: Workflow) -> Markup:
    """Both drawings; the page's style shows the one that fits."""
    return element(
        "div",
        element("div", wide(flow), class_="graph-wide"),
        element("div", narrow(flow), class_="graph-narrow"),
        class_="graph",
    )


def wide(flow: Workflow) -> Markup:
    """Boxes in layers from top to bottom, arrows between them, and the exams in rows below."""
    boxes, exams = connected(flow)
    known = {box.name: box for box in boxes}
    placed = layout(flow, BOX_WIDTH, CORNER_WIDTH, GAP)
    tops, y = list[float](), 1.0
    heights = []
    for layer in placed.layers:
        heights.append(max((height(known[item]) for item in layer if isinstance(item, str)), default=0.0))
        tops.append(y)
        y += heights[-1] + LAYER_GAP
    parts = []
    for arrow in flow.arrows:
        stops = [(x + 1, tops[number], heights[number]) for x, number in placed.path(arrow.source, arrow.target)]
        bottom = tops[stops_layer(placed.path(arrow.source, arrow.target))] + height(known[arrow.source])
        parts.append(_arrow(arrow, stops, bottom))
    for number, layer in enumerate(placed.layers):
        for item in layer:
            if isinstance(item, str):
                parts.append(_box(known[item], placed.across[item] + 1 - BOX_WIDTH / 2, tops[number], BOX_WIDTH))
    width = max(placed.width, (BOX_WIDTH + GAP) * min(len(exams), 4) - GAP) + 2
    y = y - LAYER_GAP if exams and not boxes else y
    for start in range(0, len(exams), 4):
        row = exams[start : start + 4]
        parts += [_box(box, 1 + place * (BOX_WIDTH + GAP), y, BOX_WIDTH) for place, box in enumerate(row)]
        y += max(map(height, row)) + GAP
    return _svg(parts, width, y - (GAP if exams else LAYER_GAP) + 1)


def stops_layer(path: Sequence[tuple[float, int]]) -> int:
    """The layer in which a path begins."""
    return path[0][1]


def narrow(flow: Workflow) -> Markup:
    """One box a row, in the run's order; beside them each parent has a lane down to what was made from it."""
    boxes, exams = connected(flow)
    rows = (*boxes, *exams)
    lanes = lanes_of(boxes, flow.arrows)
    left = LANE * (max(lanes.values(), default=-1) + 1) + 9
    width = NARROW_WIDTH - left - 1
    tops, y = dict[str, float](), 1.0
    for box in rows:
        tops[box.name] = y
        y += narrow_height(box) + 9
    parts = []
    for source, lane in lanes.items():
        x = left - LANE * (lane + 1)
        start = tops[source] + narrow_height(next(box for box in boxes if box.name == source)) - 10
        for arrow in (arrow for arrow in flow.arrows if arrow.source == source):
            end = tops[arrow.target] + 14
            line = f"M{_n(left)},{_n(start)}H{_n(x + 4)}Q{_n(x)},{_n(start)} {_n(x)},{_n(start + 4)}"
            line += f"V{_n(end - 4)}Q{_n(x)},{_n(end)} {_n(x + 4)},{_n(end)}H{_n(left - 5)}"
            tip = f"M{_n(left)},{_n(end)}l-6,-3.5v7z"
            parts.append(_line(arrow, line, tip))
    parts += [_narrow_box(box, left, tops[box.name], width) for box in rows]
    return _svg(parts, NARROW_WIDTH, y - 8)


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


def height(box: Box) -> float:
    """A box's height in the drawing in layers."""
    return 2 * PADDING + LINE * (2 + len(_shown_lines(box)))


def narrow_height(box: Box) -> float:
    """A box's height in the list, where its numbers share lines."""
    return 2 * PADDING + 3 + LINE * (1 + len(_narrow_lines(box)))


def _shown_lines(box: Box) -> tuple[str, ...]:
    if box.group != "exam":
        return box.lines
    return box.lines if len(box.lines) <= 10 else (*box.lines[:9], f"and {len(box.lines) - 9} more")


def _narrow_lines(box: Box) -> list[str]:
    """The numbers, as many a line as fit."""
    lines: list[str] = []
    for part in box.lines:
        glue = ", " if box.group == "exam" else " · "
        if lines and len(lines[-1]) + len(glue) + len(part) <= NARROW_CHARACTERS:
            lines[-1] += glue + part
        else:
            lines.append(part)
    return lines


def _box(box: Box, x: float, y: float, width: float) -> Markup:
    texts = [_text(x + PADDING, y + PADDING + 11, shortened(box.name, CHARACTERS - 4), "name")]
    texts.append(_text(x + PADDING, y + PADDING + 11 + LINE, shortened(box.kind, CHARACTERS), "kind"))
    for number, line in enumerate(_shown_lines(box)):
        texts.append(_text(x + PADDING, y + PADDING + 11 + LINE * (2 + number), shortened(line, CHARACTERS), "line"))
    return _framed(box, x, y, width, height(box), texts)


def _narrow_box(box: Box, x: float, y: float, width: float) -> Markup:
    texts = [_text(x + PADDING, y + PADDING + 12, shortened(box.name, 22), "name")]
    kind = element(
        "text", shortened(box.kind, 18), x=x + width - PADDING, y=y + PADDING + 12, class_="kind", text_anchor="end"
    )
    texts.append(kind)
    for number, line in enumerate(_narrow_lines(box)):
        texts.append(_text(x + PADDING, y + PADDING + 14 + LINE * (1 + number), line, "line"))
    return _framed(box, x, y, width, narrow_height(box), texts)


def _framed(box: Box, x: float, y: float, width: float, tall: float, texts: Sequence[Markup]) -> Markup:
    title = element("title", f"{box.name} ({box.kind or 'stage'}): {', '.join(box.lines) or 'no numbers'}")
    frame = element("rect", x=x, y=y, width=width, height=tall, rx=7.0)
    return element("g", title, frame, *texts, class_=f"box {box.group}")


def _text(x: float, y: float, line: str, style: str) -> Markup:
    return element("text", line, x=x, y=y, class_=style)


def _arrow(arrow: Arrow, stops: Sequence[tuple[float, float, float]], bottom: float) -> Markup:
    """From the foot of one box, straight down past the layers between, to the head of another."""
    x, _, _ = stops[0]
    path, y = f"M{_n(x)},{_n(bottom)}", bottom
    for number, (next_x, top, tall) in enumerate(stops[1:], start=1):
        last = number == len(stops) - 1
        end = top - (6 if last else 0)
        middle = (y + end) / 2 if number == 1 else end - LAYER_GAP / 2
        path += f"C{_n(x)},{_n(middle)} {_n(next_x)},{_n(middle)} {_n(next_x)},{_n(end)}"
        x, y = next_x, end
        if not last:
            y = top + tall
            path += f"V{_n(y)}"
    return _line(arrow, path, f"M{_n(x)},{_n(y + 6)}l-4,-7h8z")


def _line(arrow: Arrow, path: str, tip: str) -> Markup:
    title = element("title", f"{arrow.source} → {arrow.target} ({arrow.holds})")
    return element(
        "g", title, element("path", d=path, class_="shaft"), element("path", d=tip, class_="tip"), class_=arrow.holds
    )


def _svg(parts: Sequence[Markup], width: float, tall: float) -> Markup:
    return element(
        "svg",
        joined(*parts),
        viewBox=f"0 0 {_n(width)} {_n(tall)}",
        width=round(width),
        height=round(tall),
        role="img",
        aria_label="The workflow as a graph",
    )


def _n(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")
