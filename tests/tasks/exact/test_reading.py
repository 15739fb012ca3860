import pytest

from reasoning.tasks.exact.forms import Collection, Matrix, Named, Quantity, Relation, Series, Words
from reasoning.tasks.exact.reading import LONGEST, read_form


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("5", Quantity),
        ("(1, 2)", Series),
        ("1:2", Series),
        ("1, 2", Collection),
        (r"\{1\}", Collection),
        (r"\pm 1", Collection),
        (r"(-\infty, 1) \cup (2, 3]", Collection),
        ("x = 5", Named),
        (r"x \in [1, 2]", Named),
        ("2x + 1 = 5", Relation),
        ("1 < x < 2", Relation),
        (r"\begin{pmatrix} 1 & 2 \end{pmatrix}", Matrix),
        (r"\text{east}", Words),
        ("Apollo 11", Words),
    ],
)
def test_every_form_is_told_apart(text, form):
    assert isinstance(read_form(text), form)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "(1",
        "1}",
        r"\frac{1}{",
        "1 2",
        r"1, 2, \ldots, n",
        "1" * (LONGEST + 1),
        "x = ",
        "\uff15",
        "5 = 9",
        "<",
        ",",
    ],
)
def test_what_is_no_answer_is_none(text):
    assert read_form(text) is None


def test_a_comma_before_three_digits_joins_unless_it_is_told_not_to():
    assert read_form("100,200").value.rational == 100200
    assert [item.value.rational for item in read_form("100,200", commas_join=False).items] == [100, 200]
    assert [item.value.rational for item in read_form("(100,200)").items] == [100, 200]


def test_plus_and_minus_are_two_values():
    assert sorted(item.value.rational for item in read_form(r"3 \pm 1").items) == [2, 4]


def test_a_percentage_is_a_hundredth():
    assert read_form(r"12.5\%").value.rational == read_form(r"\frac{1}{8}").value.rational
