"""Powers, roots, factorials and binomials of exact values; one that isn't exact is an atom by what it is of."""

import math

from reasoning.tasks.exact.algebra import TooLarge, Value, atom, key_of, power, rational, root

_LARGEST_FACTORIAL = 300
ENDS = (r"\infty", r"-1*\infty")
"""The texts of both infinities (``key_of``), with which nothing is calculated."""


class Unreadable(ValueError):
    """Tokens that are no expression."""


def raised(base: Value, exponent: Value) -> Value:
    """A power of any exponent. Raises ZeroDivisionError and TooLarge."""
    number = exponent.rational
    if number is None or _is_endless(base):
        return atom(f"pow({key_of(base)};{key_of(exponent)})")
    if number.denominator == 1:
        return power(base, number.numerator)
    if number.denominator > 100:
        raise TooLarge
    return power(root_of(base, number.denominator), number.numerator)


def root_of(value: Value, degree: int) -> Value:
    """The principal root."""
    exact = root(value, degree)
    return atom(f"root_{degree}({key_of(value)})") if exact is None else exact


def _is_endless(value: Value) -> bool:
    return key_of(value) in ENDS


def factorial(value: Value) -> Value:
    """The factorial. Raises Unreadable for a negative number, and TooLarge for one above 300."""
    number = value.whole
    if number is None:
        return atom(f"factorial({key_of(value)})")
    if number < 0:
        raise Unreadable
    if number > _LARGEST_FACTORIAL:
        raise TooLarge
    return rational(math.factorial(number))


def binomial(above: Value, below: Value) -> Value:
    """The binomial coefficient. Raises Unreadable outside of Pascal's triangle, and TooLarge below its row 300."""
    n, k = above.whole, below.whole
    if n is None or k is None:
        return atom(f"binom({key_of(above)};{key_of(below)})")
    if not 0 <= k <= n:
        raise Unreadable
    if n > _LARGEST_FACTORIAL:
        raise TooLarge
    return rational(math.comb(n, k))
