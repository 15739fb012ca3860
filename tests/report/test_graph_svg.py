import re
from xml.etree import ElementTree

import pytest

from reasoning.findings.graph import Arrow, Box, Workflow
from reasoning.findings.workflow import workflow
from reasoning.report.graph_svg import lanes_of, narrow, wide


@pytest.fixture(scope="module")
def flow(facts):
    return workflow(facts.stages, facts.evaluations)


def read(markup):
    return ElementTree.fromstring(markup)


@pytest.mark.parametrize("draw", [wide, narrow])
def test_every_box_and_every_arrow_is_drawn_once_within_the_picture(flow, draw):
    picture = read(draw(flow))
    boxes = [group for group in picture.iter("g") if group.get("class", "").startswith("box")]
    assert len(boxes) == len(flow.boxes)
    titles = [title.text for title in picture.iter("title")]
    assert sorted(text for text in titles if "→" in text and text.endswith(("(weights)", "(data)"))) == sorted(
        f"{arrow.source} → {arrow.target} ({arrow.holds})" for arrow in flow.arrows
    )
    links = [link.get("href") for link in picture.iter("a")]
    assert links == [f"#stage-{box.get('aria-label').partition(' ')[0]}" for box in picture.iter("a")]
    width, tall = map(float, picture.get("viewBox").split()[2:])
    for rect in picture.iter("rect"):
        x, y, across, down = (float(rect.get(name)) for name in ("x", "y", "width", "height"))
        assert x >= 0 and y >= 0 and x + across <= width and y + down <= tall
    for path in picture.iter("path"):
        places = [float(x) for x in re.findall(r"[MHC ]([\d.]+),", path.get("d"))]
        assert all(0 <= x <= width for x in places)


def test_lanes_of_parents_whose_children_lie_side_by_side_differ(flow):
    boxes = [box for box in flow.boxes if box.group != "exam"]
    row = {box.name: number for number, box in enumerate(boxes)}
    lanes = lanes_of(boxes, flow.arrows)
    reach = {name: max(row[arrow.target] for arrow in flow.arrows if arrow.source == name) for name in lanes}
    for one in lanes:
        for other in lanes:
            if one < other and lanes[one] == lanes[other]:
                assert reach[one] <= row[other] or reach[other] <= row[one]
    assert max(lanes.values()) < 6  # So that boxes stay wide enough on a phone.


def test_names_are_text_and_long_ones_are_cut():
    boxes = (Box('"><script>' + "x" * 60, "<b>", "model", ("<i>",)), Box("b", "", "data", ()))
    flow = Workflow(boxes, (Arrow(boxes[0].name, "b", "weights"),))
    for draw in (wide, narrow):
        source = draw(flow)
        assert "<script>" not in source and "<i>" not in source and "x" * 61 not in source
        shown = [text.text or "" for text in read(draw(flow)).iter("text")]
        assert all(len(text) <= 60 for text in shown)


@pytest.mark.parametrize("draw", [wide, narrow])
def test_runs_of_no_stage_and_of_exams_alone_can_be_drawn(draw):
    assert read(draw(Workflow((), ()))).tag == "svg"
    assert read(draw(Workflow((Box("exam", "Evaluate", "exam", ("a",)),), ()))).find("a/g") is not None
