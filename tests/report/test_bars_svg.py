"""Stacked bars: pieces lie beside each other to scale, and the limit stands where its value is."""

import re

from reasoning.report.bars_svg import drawn
from reasoning.report.document import Bar, Bars, Part

BARS = Bars(
    "What lies there",
    ("kept", "made"),
    (Bar("one", (Part("kept", 2.0, "2"), Part("made", 1.0, "1")), "3"), Bar("two", (Part("made", 4.0, "4"),), "4")),
    Part("capacity", 3.0, "3 GiB"),
)


def rectangles(text: str) -> list[tuple[float, float]]:
    found = re.findall(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', text)
    return [(float(x), float(width)) for x, width in found]


def test_pieces_lie_side_by_side_to_scale():
    (kept, made), other = rectangles(drawn(BARS))[:2], rectangles(drawn(BARS))[2]
    assert made[0] == kept[0] + kept[1] and kept[0] == other[0]
    assert abs(kept[1] - 2 * made[1]) < 0.02 and abs(other[1] - 4 * made[1]) < 0.04


def test_the_limit_stands_where_its_value_is_and_all_is_said():
    text = drawn(BARS)
    [limit] = re.findall(r'<line x1="([\d.]+)"', text)
    x, width = rectangles(text)[2]
    assert abs(float(limit) - (x + 0.75 * width)) < 0.02
    assert 'aria-label="What lies there. one: 3, kept 2, made 1; two: 4, made 4"' in text
