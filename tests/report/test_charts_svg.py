import math
import re
from xml.etree import ElementTree

import pytest

from reasoning.findings.curves import Chart, Series, charts
from reasoning.report import charts_svg
from reasoning.report.charts_svg import FOOT, LEFT, RIGHT, TOP


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
    assert "<script>" not in charts_svg.chart(hostile) and hostile.said.endswith("</title><script> from 1.00 to 1.00")


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
    assert found.said == "t by tokens: r1: 0.50 at 12.5 tokens" and found.said in str(charts_svg.chart(found))


NAMED = Series(
    "base",
    ((10.0, 0.25), (100.0, 0.2), (1000.0, 0.75)),
    ((10.0, 0.25), (1000.0, 0.25), (1000.0, 0.75)),
    ((10.0, 0.2, 0.3),),
    "greedy 0.250 at 10; search 0.750 at 1,000",
    ("greedy", "vote", "search"),
)
ALONE = Series("<r1>", ((31.6227766, 0.5),), ((31.6227766, 0.5),), told="greedy 0.500 at 31.6", labels=("greedy",))


def test_dots_that_have_names_stand_at_their_costs_logarithms_beside_the_line_and_are_told():
    source = charts_svg.chart(Chart("exam: strict against tokens", "strict", (NAMED, ALONE), "tokens", True))
    picture = ElementTree.fromstring(source).find("svg")
    assert picture is not None
    circles = [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in picture.iter("circle")]
    xs, ys = zip(*circles, strict=True)
    for (x, y), (cost, value) in zip(circles, (*NAMED.raw, *ALONE.raw), strict=True):
        assert (x - xs[0]) / (xs[2] - xs[0]) == pytest.approx(math.log10(cost / 10) / 2, abs=1e-3)
        assert (y - ys[0]) / (ys[2] - ys[0]) == pytest.approx((value - 0.25) / 0.5, abs=1e-3)
    [line] = picture.findall("path[@class='series c0']")
    assert places(line) == [pytest.approx(at, abs=0.1) for at in ((xs[0], ys[0]), (xs[2], ys[0]), (xs[2], ys[2]))]
    assert picture.findall("path[@class='series c0 raw']")[1:] == []  # The dots are not joined, only their intervals.
    told = picture.get("aria-label", "")
    assert NAMED.told in told and "<r1>: greedy" in told and "&lt;r1&gt;" in source
    hovers = [title.text for title in picture.findall("g[@class='hovers']/rect/title")]
    assert hovers[0] == "tokens 10\nbase, greedy 0.25 (0.2 to 0.3)" and "tokens 100\nbase, vote 0.2" in hovers
    assert {"10", "100", "1,000"} <= {text.text for text in picture.iter("text")}


def test_one_way_alone_and_costs_of_any_size_are_drawn():
    for cost in (1.0, 3e15):
        series = Series("a", ((cost, 1.0),), ((cost, 1.0),), told="b", labels=("b",))
        picture = ElementTree.fromstring(charts_svg.chart(Chart("t", "share", (series,), "FLOPs", True)))
        assert len(list(picture.iter("circle"))) == 1 and "nan" not in str(ElementTree.tostring(picture))
