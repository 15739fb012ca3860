import random

import pytest

from reasoning.tasks.boxed import closes, holds_box, last_box


@pytest.mark.parametrize(
    ("text", "held"),
    [
        (r"so $\boxed{42}$.", "42"),
        (r"\fbox{ \frac{1}{2} }", r"\frac{1}{2}"),
        (r"\boxed{1}, no, \boxed {\{2\}}", r"\{2\}"),
        (r"\boxed{1} then \boxed{2", None),
        (r"\boxed{}", None),
        ("42", None),
    ],
)
def test_the_last_box_is_the_answer_and_one_that_does_not_close_is_none(text, held):
    assert last_box(text) == held and holds_box(text) == (text != "42")


def test_whatever_balanced_group_a_box_holds_comes_out_whole():
    draw = random.Random(0)

    def group(depth: int) -> str:
        parts = draw.choice(("x", r"\frac", r"\{", r"\}", "7", "{" + group(depth - 1) + "}" if depth else "y"))
        return parts + (group(depth) if draw.random() < 0.6 else "")

    for _ in range(200):
        held = group(3)
        assert last_box(rf"\boxed{{0}} and \boxed{{{held}}} }}") == held and closes(held)
        assert not closes(held + "}") and not closes("{" + held)
