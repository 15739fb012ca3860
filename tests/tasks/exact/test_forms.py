import pytest

from reasoning.tasks.exact.forms import as_latex, spelled
from reasoning.tasks.exact.latex import tokens_of
from reasoning.tasks.exact.reading import read_form


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0.5", r"\frac{1}{2}"),
        ("x+1", "1+x"),
        ("1, 2", "2, 1"),
        (r"\{1, 2, 1\}", r"\{2, 1\}"),
        ("x = 5", "5"),
        (r"\text{East}", "east"),
        (r"\sqrt{12}", r"2\sqrt{3}"),
        ("A", "(A)"),
        ("5>x", "x<5"),
    ],
)
def test_equal_answers_are_spelled_alike(one, other):
    assert spelled(read_form(one)) == spelled(read_form(other))


@pytest.mark.parametrize(("one", "other"), [("(1,2)", "1,2"), ("x<5", r"x \le 5"), ("1:2", "2:1"), ("5 cm", "5 km")])
def test_other_answers_are_spelled_otherwise(one, other):
    assert spelled(read_form(one), read_form("3 cm")) != spelled(read_form(other), read_form("3 cm"))


def test_without_a_unit_in_the_right_answer_units_do_not_count():
    assert spelled(read_form("5 cm")) == spelled(read_form("5 km")) == "5"
    assert spelled(read_form("5 cm"), read_form("3 cm")) == spelled(read_form("5"), read_form("3 cm")) == "5"


def test_names_count_where_the_right_answer_has_another():
    assert spelled(read_form("y=5"), read_form("5")) == "5"
    assert spelled(read_form("x=5"), read_form("x=7")) == "5"
    assert spelled(read_form("y=5"), read_form("x=7")) == "y = 5"
    assert spelled(read_form("x=2, y=3"), read_form("x=1, y=2")) == "x = 2, y = 3"


def test_expressions_are_handed_on_as_plain_latex():
    assert as_latex(tokens_of("2sqrt(x+1)*sin(y)")) == r"2 \sqrt { x + 1 } \cdot \sin ( y )"
    assert as_latex(["1.5e-3"]) == r"\frac{3}{2000}"
    assert as_latex(["0.3333333333333333333"]) == r"\frac{3333333333333333333}{10000000000000000000}"
