import random
from fractions import Fraction

import pytest

from reasoning.tasks.exact.algebra import TooLarge, equal
from reasoning.tasks.exact.expressions import read_expression
from reasoning.tasks.exact.functions import Unreadable
from reasoning.tasks.exact.latex import tokens_of


def value(text):
    return read_expression(tokens_of(text))


def written(random_, size):
    r"""A random sum of fractions as LaTeX, and as Python's fractions have it."""
    if size == 0:
        above, below = random_.randint(0, 99), random_.randint(1, 99)
        forms = [rf"\frac{{{above}}}{{{below}}}", f"({above}/{below})", rf"\left.{above}\right.".replace(r"\left.", "")]
        choice = random_.randrange(3)
        return (forms[choice].replace(r"\right.", ""), Fraction(above, below if choice < 2 else 1))
    (left, one), (right, other) = written(random_, size - 1), written(random_, random_.randrange(size))
    operation = random_.choice("+-*")
    if operation == "*":
        return rf"({left}) * ({right})", one * other
    return f"({left} {operation} {right})", one + other if operation == "+" else one - other


def test_sums_of_fractions_are_pythons():
    random_ = random.Random(0)
    for _ in range(200):
        text, truth = written(random_, 4)
        assert value(text).rational == truth


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("1.5e3", Fraction(1500)),
        (r"1.5 * 10^{-3}", Fraction(3, 2000)),
        (r"1\frac{1}{2}", Fraction(3, 2)),
        (r"2\frac{3}{2}", Fraction(3)),
        ("1 1/2", Fraction(3, 2)),
        (r"\frac12", Fraction(1, 2)),
        (r"\frac1{72}", Fraction(1, 72)),
        ("-2^2", Fraction(-4)),
        ("(-2)^2", Fraction(4)),
        ("2^-1", Fraction(1, 2)),
        ("8^{2/3}", Fraction(4)),
        ("5!", Fraction(120)),
        (r"\binom{5}{2}", Fraction(10)),
        (r"\sqrt{16}", Fraction(4)),
        (r"\sqrt[3]{27}", Fraction(3)),
        (r"\lfloor 7/2 \rfloor", Fraction(3)),
        ("|3-5|", Fraction(2)),
        ("abs(-2)", Fraction(2)),
        ("2(3)(4)", Fraction(24)),
    ],
)
def test_numbers_have_their_exact_value(text, truth):
    assert value(text).rational == truth


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"\frac{x+1}{2}", r"\frac{x}{2} + \frac12"),
        ("2xy", "2y x"),
        ("x_1 + x_{12}", "x_{12} + x_1"),
        (r"\sqrt12", r"2\sqrt3"),
        (r"\sin 2x", r"\sin(2x)"),
        (r"\sin^2 x", r"(\sin x)^2"),
        (r"\exp(x)", "e^x"),
        ("3/4x", r"\frac{3x}{4}"),
    ],
)
def test_equal_expressions_have_one_value(one, other):
    assert equal(value(one), value(other))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 2",
        "x2",
        "2+",
        "*2",
        "1/xyx y",
        r"\frac{1}{0}",
        r"\unknown{2}",
        "word",
        r"\sin^{-1} x",
        "1.2.3",
        ".",
        "2^",
        "(",
        "a/2b",
    ],
)
def test_what_is_no_expression_or_more_than_one_is_unreadable(text):
    with pytest.raises(Unreadable):
        value(text)


@pytest.mark.parametrize("text", ["9^{9^{9}}", "1000!", "1e99999", "(x+1)^{5000}", r"\binom{999}{5}"])
def test_what_would_take_long_is_refused(text):
    with pytest.raises(TooLarge):
        value(text)
