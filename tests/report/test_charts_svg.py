import math
import re
from xml.etree import ElementTree

import pytest

from reasoning.findings.curves import Chart, Series, charts
from reasoning.report import charts_svg
from reasoning.report.charts_svg import FOOT, LEFT, RIGHT, TOP, frontier, summary
from reasoning.report.document import Frontier, Spot


def figure(chart):
    return ElementTree.fromstring(charts_svg.chart(chart))


def places(path):
    return [tuple(map(float, pair)) for pair in re.findall(r"([\d.]+),([\d.]+)", path.get("d"))]


def chart(*points, name="loss"):
    return Chart("Loss", "nats", (Series(name, tuple(points), tuple(points)),))


def test_every_point_lies_within_the_axes(facts):
    for stage in facts.stages:
        for each in charts(stage.metrics):
            paths = figure(each).findall(".//path")
            places = [
                tuple(map(float, pair)) for path in paths for pair in re.findall(r"([\d.]+),([\d.]+)", path.get("d"))
            ]
            assert all(LEFT <= x <= RIGHT and TOP <= y <= FOOT for x, y in places)


def test_a_higher_value_lies_higher_and_a_later_step_further_right():
    [path] = figure(chart((1, 1.0), (2, 3.0), (3, 2.0))).findall(".//path")
    (x1, y1), (x2, y2), (x3, y3) = places(path)
    assert x1 < x2 < x3 and y2 < y3 < y1


@pytest.mark.parametrize("points", [((5, 2.0),), ((1, 0.0), (2, 0.0)), ((1, -3.0), (2, -3.0)), ((1, 1e-12), (2, 1e12))])
def test_single_points_constants_and_extremes_can_be_drawn(points):
    assert "nan" not in charts_svg.chart(chart(*points)) and figure(chart(*points)).find(".//svg") is not None


def test_axes_are_labelled_and_hovering_tells_the_values():
    found = figure(chart((1, 1.0), (2, 3.0)))
    texts = [text.text for text in found.findall(".//text")]
    assert "step" in texts and "nats" in texts and "2" in texts
    assert [title.text for title in found.findall(".//g[@class='hovers']/rect/title")] == [
        "step 1\nloss 1",
        "step 2\nloss 3",
    ]


def test_raw_and_averaged_values_are_two_lines_only_where_they_differ(facts):
    zero = facts.stage("zero")
    reward = next(each for each in charts(zero.metrics) if each.title == "Reward")
    classes = [path.get("class") for path in figure(reward).findall(".//path")]
    assert classes == ["series c0 raw", "series c0", "series c1 raw", "series c1", "series c2 raw", "series c2"]
    assert len(figure(chart((1, 1.0), (2, 3.0))).findall(".//path")) == 1


def test_a_metric_s_name_is_text(facts):
    hostile = chart((1, 1.0), name="</title><script>")
    assert "<script>" not in charts_svg.chart(hostile) and summary(hostile) == "</title><script> from 1.00 to 1.00"


def test_doubling_amounts_stand_evenly_and_intervals_and_the_guide_are_drawn_within_the_axes():
    points = ((1.0, 0.2), (2.0, 0.4), (4.0, 0.5), (16.0, 0.9))
    series = Series("r1", points, points, tuple((at, value - 0.1, value + 0.1) for at, value in points))
    found = figure(Chart("pass@k", "share", (series,), "k", True, ((1, 0), (16, 1))))
    paths = {path.get("class"): path.get("d") for path in found.findall(".//path")}
    [one, two, four, sixteen] = [x for x, _ in places(found.find(".//path[@class='series c0']"))]
    assert two - one == pytest.approx(four - two, abs=0.11) and sixteen - four == pytest.approx(
        2 * (two - one), abs=0.21
    )
    assert [text.text for text in found.findall(".//text")][-7:-2] == ["1", "2", "4", "8", "16"]
    ends = re.findall(r"M([\d.]+),([\d.]+)V([\d.]+)", paths["series c0 raw"])
    assert len(ends) == 4 and all(TOP <= float(high) < float(low) <= FOOT for _, low, high in ends)
    assert paths["guide"].startswith("M") and "k 2\nr1 0.4 (0.3 to 0.5)" in "".join(found.itertext())


def test_words_that_a_series_brings_stand_for_its_course():
    point = ((12.5, 0.5),)
    found = Chart("t", "share", (Series("r1", point, point, told="0.50 at 12.5 tokens"),), "tokens")
    assert summary(found) == "r1: 0.50 at 12.5 tokens" and "t by tokens: r1: 0.50 at 12.5 tokens" in str(
        charts_svg.chart(found)
    )


SPOTS = (
    Spot("base", "greedy", 10, 0.25, 0.2, 0.3, True),
    Spot("base", "vote", 100, 0.2, None, None, False),
    Spot("base", "search", 1000, 0.75, 0.7, 0.8, True),
    Spot("<r1>", "greedy", 31.6227766, 0.5, 0.4, 0.6, True),
)


def test_dots_stand_at_their_costs_logarithms_and_the_best_are_joined_and_told():
    source = frontier(Frontier("exam: strict against tokens", "tokens", SPOTS))
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
        spot = Spot("a", "b", cost, 1.0, None, None, True)
        picture = ElementTree.fromstring(frontier(Frontier("t", "FLOPs", (spot,))))
        assert len(list(picture.iter("circle"))) == 1
