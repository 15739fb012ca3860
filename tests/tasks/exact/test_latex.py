import pytest

from reasoning.tasks.exact.latex import CALLED, DEEPEST, balanced, enclosed, one_spelling, split_at, tokens_of


@pytest.mark.parametrize(
    ("written", "spelled"),
    [
        (r"\dfrac{1}{2}", r"\frac{1}{2}"),
        (r"$3 \times 4$", "3 * 4"),
        (r"\left( 1, 2 \right)", "( 1, 2 )"),
        (r"1{,}000", "1000"),
        (r"12\,345\,678", "12345678"),
        ("1,000", "1000"),
        ("1,00", "1,00"),
        (r"\mathrm{cm}", r"\text{cm}"),
        (r"\mathrm{e}", "e"),
        (r"\mathbf{42}.", "42"),
        ("\u22125\u00b0", r"-5^\circ"),
        (r"x \leqslant 5", r"x \le 5"),
    ],
)
def test_one_thing_has_one_spelling(written, spelled):
    assert one_spelling(written) == spelled


def test_a_comma_between_the_parts_of_a_tuple_does_not_join():
    assert one_spelling("(1,000, 2)", commas_join=False) == "(1,000, 2)"
    assert one_spelling("(1{,}000, 2)", commas_join=False) == "(1000, 2)"


def test_tokens_are_numbers_words_commands_and_signs():
    assert tokens_of(r"\frac{1.5e3}{2x} \le \sin y\}") == [
        *(r"\frac", "{", "1.5e3", "}", "{", "2", "x", "}", r"\le", r"\sin", "y", r"\}")
    ]
    assert all(name.isalpha() for name in CALLED)


def test_brackets_close_as_they_open_but_for_half_open_intervals():
    assert balanced(tokens_of(r"[1, \frac{2}{3})"))
    assert balanced(tokens_of("(1, (2))"))
    for broken in ("(1", "1)", r"\frac{1}{", "{1)", ")1("):
        assert not balanced(tokens_of(broken))
    assert not balanced(["("] * (DEEPEST + 1) + [")"] * (DEEPEST + 1))


def test_parts_lie_between_separators_outside_brackets():
    assert split_at(tokens_of("1,(2,3);4"), (",", ";")) == ([["1"], ["(", "2", ",", "3", ")"], ["4"]], [",", ";"])
    assert enclosed(tokens_of("(1)(2)")) is False
    assert enclosed(tokens_of("((1)(2))")) is True
