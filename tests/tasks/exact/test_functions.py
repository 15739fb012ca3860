import math
from fractions import Fraction

import pytest

from reasoning.tasks.exact.algebra import TooLarge, add, atom, key_of, power, rational
from reasoning.tasks.exact.functions import ENDS, Unreadable, binomial, factorial, raised, root_of


def test_whole_numbers_have_exact_factorials_and_binomials():
    for n in range(12):
        assert factorial(rational(n)).whole == math.factorial(n)
        assert [binomial(rational(n), rational(k)).whole for k in range(n + 1)] == [
            math.comb(n, k) for k in range(n + 1)
        ]


@pytest.mark.parametrize("value", [rational(-1), rational(301), rational(10**6)])
def test_there_is_no_factorial_of_a_negative_number_and_none_of_a_large_one(value):
    with pytest.raises((Unreadable, TooLarge)):
        factorial(value)
    with pytest.raises((Unreadable, TooLarge)):
        binomial(value, rational(1))


def test_what_is_not_exact_is_an_atom_by_its_argument():
    x, one = atom("x"), rational(1)
    for function in (factorial, lambda value: root_of(value, 3), lambda value: raised(rational(2), value)):
        assert function(add(x, one)).opaque
        assert key_of(function(add(x, one))) == key_of(function(add(one, x))) != key_of(function(x))


def test_powers_of_fractions_are_roots_powers():
    assert raised(rational(8), rational(Fraction(2, 3))).whole == 4
    assert power(root_of(rational(27), 3), 2).whole == 9
    assert raised(atom(ENDS[0]), rational(2)).opaque
