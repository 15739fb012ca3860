import random
from fractions import Fraction

import pytest
import sympy

from reasoning.tasks.exact.algebra import (
    TooLarge,
    add,
    atom,
    atoms_of,
    divide,
    equal,
    key_of,
    multiply,
    negate,
    power,
    rational,
    root,
    scaled_to_lead,
)

X, Y = sympy.symbols("x y")


def grown(random_, size):
    """An expression of so many operations, as a value here and as SymPy's."""
    if size == 0:
        number = Fraction(random_.randint(-9, 9), random_.randint(1, 9))
        leaves = [
            (rational(number), sympy.Rational(number.numerator, number.denominator)),
            (atom("x"), X),
            (atom("y"), Y),
            (root(rational(abs(number))), sympy.sqrt(sympy.Rational(abs(number.numerator), number.denominator))),
        ]
        return random_.choice(leaves)
    left, right = grown(random_, random_.randrange(size)), grown(random_, random_.randrange(size))
    operation = random_.choice(["+", "-", "*", "/", "^"])
    if operation == "+":
        return add(left[0], right[0]), left[1] + right[1]
    if operation == "-":
        return add(left[0], negate(right[0])), left[1] - right[1]
    if operation == "/" and right[0].numerator:
        return divide(left[0], right[0]), left[1] / right[1]
    if operation == "^":
        return power(left[0], 2), left[1] ** 2
    return multiply(left[0], right[0]), left[1] * right[1]


def as_sympy(value):
    def polynomial(terms):
        return sum(
            sympy.Rational(number.numerator, number.denominator)
            * sympy.sqrt(radical)
            * sympy.prod([{"x": X, "y": Y}[name] ** sympy.Rational(str(each)) for name, each in powers])
            for (radical, powers), number in terms.items()
        )

    return polynomial(value.numerator) / polynomial(value.denominator)


@pytest.mark.parametrize("seed", range(6))
def test_arithmetic_agrees_with_sympys_at_random_places(seed):
    random_ = random.Random(seed)
    for _ in range(12):
        try:
            value, theirs = grown(random_, 4)
        except TooLarge:
            continue
        place = {X: sympy.Rational(3, 7), Y: sympy.Rational(11, 5)}
        apart = sympy.N((as_sympy(value) - theirs).subs(place), 30)
        assert not apart.is_finite or abs(apart) < 1e-20


def test_rationals_are_fractions_numbers():
    random_ = random.Random(0)
    for _ in range(200):
        one, other = (Fraction(random_.randint(-99, 99), random_.randint(1, 99)) for _ in range(2))
        assert add(rational(one), rational(other)).rational == one + other
        assert multiply(rational(one), rational(other)).rational == one * other
        if other:
            assert divide(rational(one), rational(other)).rational == one / other
        assert equal(rational(one), rational(other)) == (one == other)
        assert (key_of(rational(one)) == key_of(rational(other))) == (one == other)


def test_only_whole_rationals_are_whole():
    assert rational(Fraction(6, 3)).whole == 2
    assert rational(Fraction(1, 3)).whole is None
    assert atom("x").rational is None
    assert root(rational(2)).rational is None


def test_roots_are_exact_or_none():
    assert equal(root(rational(12)), multiply(rational(2), root(rational(3))))
    assert root(rational(8), 3).rational == 2
    assert root(rational(2), 3) is None
    assert equal(multiply(root(rational(-4)), root(rational(-4))), rational(-4))
    assert equal(power(root(atom("x")), 2), atom("x"))
    assert root(add(atom("x"), rational(1))) is None


def test_one_over_a_sum_of_roots_is_one_without_a_divisor():
    one_over = divide(rational(1), add(root(rational(2)), rational(-1)))
    assert equal(one_over, add(root(rational(2)), rational(1)))
    assert key_of(one_over) == key_of(add(rational(1), root(rational(2))))


def test_quotients_are_equal_crosswise():
    x = atom("x")
    assert equal(divide(add(power(x, 2), rational(-1)), add(x, rational(-1))), add(x, rational(1)))
    assert not equal(divide(x, add(x, rational(1))), divide(x, add(x, rational(2))))


@pytest.mark.parametrize("base", [rational(7), add(atom("x"), rational(1)), atom("x")])
def test_what_would_take_long_is_refused(base):
    with pytest.raises(TooLarge):
        power(base, 9999)
    with pytest.raises(TooLarge):
        atom("x" * 5000)


def test_nothing_is_divided_by_zero():
    with pytest.raises(ZeroDivisionError):
        divide(rational(1), add(atom("x"), negate(atom("x"))))
    with pytest.raises(ZeroDivisionError):
        power(rational(0), -1)


def test_atoms_are_named_and_functions_are_opaque():
    value = add(atom("x"), atom("sin(x)"))
    assert atoms_of(value) == {"x", "sin(x)"}
    assert value.opaque
    assert not atom("x").opaque


def test_equations_that_differ_by_a_factor_are_one_when_scaled():
    one = add(multiply(rational(3), atom("x")), rational(-6))
    other = multiply(rational(Fraction(-1, 3)), one)
    assert scaled_to_lead(one)[0] == scaled_to_lead(other)[0]
    assert scaled_to_lead(one)[1] == -scaled_to_lead(other)[1]
