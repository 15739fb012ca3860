import re
from xml.etree import ElementTree

import pytest

from reasoning.findings.curves import Chart, Series, charts
from reasoning.report.curves_svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, drawn, labelled, summary, ticks


def figure(chart):
    return ElementTree.fromstring(drawn(chart))


def places(path):
    return [tuple(map(float, pair)) for pair in re.findall(r"([\d.]+),([\d.]+)", path.get("d"))]


def chart(*points, name="loss"):
    return Chart("Loss", "nats", (Series(name, tuple(points), tuple(points)),))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.25, 0.5, 0.75, 1]),
        (0.03, 1.05, [0.25, 0.5, 0.75, 1.0]),
        (1, 45, [20, 40]),
        (-0.12, 0.11, [-0.1, 0, 0.1]),
        (2e6, 9e6, [2e6, 4e6, 6e6, 8e6]),
    ],
)
def test_ticks_are_round_numbers_within_the_range(low, high, expected):
    found = ticks(low, high)
    assert found == pytest.approx(expected) or (len(found) <= 6 and low <= found[0] and found[-1] <= high)


def test_every_point_lies_within_the_axes(facts):
    for stage in facts.stages:
        for each in charts(stage.metrics):
            paths = figure(each).findall(".//path")
            places = [
                tuple(map(float, pair)) for path in paths for pair in re.findall(r"([\d.]+),([\d.]+)", path.get("d"))
            ]
            assert all(LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT - BOTTOM for x, y in places)


def test_a_higher_value_lies_higher_and_a_later_step_further_right():
    [path] = figure(chart((1, 1.0), (2, 3.0), (3, 2.0))).findall(".//path")
    (x1, y1), (x2, y2), (x3, y3) = places(path)
    assert x1 < x2 < x3 and y2 < y3 < y1


@pytest.mark.parametrize("points", [((5, 2.0),), ((1, 0.0), (2, 0.0)), ((1, -3.0), (2, -3.0)), ((1, 1e-12), (2, 1e12))])
def test_single_points_constants_and_extremes_can_be_drawn(points):
    assert "nan" not in drawn(chart(*points)) and figure(chart(*points)).find(".//svg") is not None


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
    assert "<script>" not in drawn(hostile) and summary(hostile) == "</title><script> from 1.00 to 1.00"


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
    assert len(ends) == 4 and all(TOP <= float(high) < float(low) <= HEIGHT - BOTTOM for _, low, high in ends)
    assert paths["guide"].startswith("M") and "k 2\nr1 0.4 (0.3 to 0.5)" in "".join(found.itertext())


def test_words_that_a_series_brings_stand_for_its_course():
    point = ((12.5, 0.5),)
    found = Chart("t", "share", (Series("r1", point, point, told="0.50 at 12.5 tokens"),), "tokens")
    assert summary(found) == "r1: 0.50 at 12.5 tokens" and "t by tokens: r1: 0.50 at 12.5 tokens" in drawn(found)


@pytest.mark.parametrize(("values", "expected"), [([0, 0.25, 0.5], ["0.00", "0.25", "0.50"]), ([10, 20], ["10", "20"])])
def test_labels_have_the_digits_that_the_longest_needs(values, expected):
    assert [label for _, label in labelled(values)] == expected
