from reasoning.findings.graph import Arrow, Box, Workflow, connected, depths


def test_what_has_no_parent_stands_just_above_its_first_child():
    boxes = tuple(Box(name, "", "data", ()) for name in ("a", "b", "c", "late"))
    arrows = (Arrow("a", "b", "data"), Arrow("b", "c", "data"), Arrow("late", "c", "data"))
    assert depths(Workflow(boxes, arrows)) == {"a": 0, "b": 1, "c": 2, "late": 1}


def test_exams_stand_apart_from_the_picture_proper():
    boxes = (Box("a", "", "model", ()), Box("exam", "", "exam", ("a",)))
    assert connected(Workflow(boxes, ())) == (boxes[:1], boxes[1:])
