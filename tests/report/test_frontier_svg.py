import math
import re
from xml.etree import ElementTree

import pytest

from reasoning.report.document import Frontier, Spot
from reasoning.report.frontier_svg import drawn

SPOTS = (
    Spot("base", "greedy", 10, 0.25, 0.2, 0.3, True),
    Spot("base", "vote", 100, 0.2, None, None, False),
    Spot("base", "search", 1000, 0.75, 0.7, 0.8, True),
    Spot("<r1>", "greedy", 31.6227766, 0.5, 0.4, 0.6, True),
)


def test_dots_stand_at_their_costs_logarithms_and_the_best_are_joined_and_told():
    source = drawn(Frontier("exam: strict against tokens", "tokens", SPOTS))
    picture = ElementTree.fromstring(source).find("svg")
    assert picture is not None
    circles = [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in picture.iter("circle")]
    xs, ys = zip(*circles, strict=True)
    for (x, y), spot in zip(circles, SPOTS, strict=True):
        assert (x - xs[0]) / (xs[2] - xs[0]) == pytest.approx(math.log10(spot.cost / 10) / 2, abs=1e-3)
        assert (y - ys[0]) / (ys[2] - ys[0]) == pytest.approx((spot.value - 0.25) / 0.5, abs=1e-3)
    lines = [re.findall(r"[\d.]+", path.get("d", "")) for path in picture.findall("path")]
    assert [list(map(float, line)) for line in lines][0] == pytest.approx([xs[0], ys[0], xs[2], ys[2]], abs=0.1)
    told = picture.get("aria-label", "")
    assert "base: greedy 0.250 at 10; search 0.750 at 1,000" in told and "vote" not in told and "<r1>: greedy" in told
    assert "base, vote 0.200 at 100" in source and "&lt;r1&gt;" in source


def test_one_way_alone_and_costs_of_any_size_are_drawn():
    for cost in (1.0, 3e15):
        picture = ElementTree.fromstring(drawn(Frontier("t", "FLOPs", (Spot("a", "b", cost, 1.0, None, None, True),))))
        assert len(list(picture.iter("circle"))) == 1
