"""Exact arithmetic with rationals, square roots, constants and variables: quotients of polynomials over them.

A polynomial is a sum of terms ``coefficient * sqrt(radical) * product of powers of atoms``, its coefficients fractions,
its radicals whole, positive and without a square. Atoms are names: variables, ``\\pi``, ``e``, ``i`` (whose powers are
reduced), and functions of something (``\\sin(x)``), of which nothing is known but that equal ones are equal.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

_MOST_TERMS = 128
_MOST_BITS = 4096
_MOST_POWER = 4096
_LARGEST_RADICAND = 10**8
_LONGEST_ATOM = 2000

Powers = tuple[tuple[str, Fraction], ...]
Monomial = tuple[int, Powers]
Polynomial = Mapping[Monomial, Fraction]

_ONE: Monomial = (1, ())
_I = "i"


class TooLarge(ArithmeticError):
    """Exact arithmetic would take long: a tower of powers, the factorial of a large number, a product of long sums."""


@dataclass(frozen=True)
class Value:
    """A quotient of polynomials in lowest known terms; where one has a single term it is divided by, the divisor is 1.

    ``opaque`` tells that an atom is a function of something, so that two values may be equal without looking equal.
    """

    numerator: Polynomial
    denominator: Polynomial = field(default_factory=lambda: {_ONE: Fraction(1)})

    @property
    def opaque(self) -> bool:
        return any("(" in atom for atom in atoms_of(self))

    @property
    def rational(self) -> Fraction | None:
        """The value as a fraction, or None where it isn't rational."""
        if not self.numerator:
            return Fraction(0)
        single = len(self.numerator) == 1 and _ONE in self.numerator and self.denominator == _UNIT
        return self.numerator[_ONE] if single else None

    @property
    def whole(self) -> int | None:
        """The value as an integer, or None where it is none."""
        value = self.rational
        return None if value is None or value.denominator != 1 else value.numerator


_UNIT: Polynomial = {_ONE: Fraction(1)}


def rational(value: Fraction | int) -> Value:
    """A number as a value. Raises TooLarge for one of more than 4,096 bits."""
    return Value(_polynomial([(_ONE, Fraction(value))]))


def atom(name: str) -> Value:
    """A variable, a constant, or a function of something by its whole text. Raises TooLarge for a very long one."""
    if len(name) > _LONGEST_ATOM:
        raise TooLarge
    return Value({(1, ((name, Fraction(1)),)): Fraction(1)})


def atoms_of(value: Value) -> set[str]:
    """The names that occur in a value."""
    both = (*value.numerator, *value.denominator)
    return {name for _, powers in both for name, _ in powers}


def add(left: Value, right: Value) -> Value:
    """The sum. Raises TooLarge."""
    if left.denominator == right.denominator:
        return _quotient(_sum(left.numerator, right.numerator), left.denominator)
    crossed = _sum(_product(left.numerator, right.denominator), _product(right.numerator, left.denominator))
    return _quotient(crossed, _product(left.denominator, right.denominator))


def multiply(left: Value, right: Value) -> Value:
    """The product. Raises TooLarge."""
    return _quotient(_product(left.numerator, right.numerator), _product(left.denominator, right.denominator))


def negate(value: Value) -> Value:
    """The value with the other sign."""
    return Value({key: -number for key, number in value.numerator.items()}, value.denominator)


def divide(left: Value, right: Value) -> Value:
    """The quotient. Raises ZeroDivisionError and TooLarge."""
    if not right.numerator:
        raise ZeroDivisionError
    return _quotient(_product(left.numerator, right.denominator), _product(left.denominator, right.numerator))


def power(base: Value, exponent: int) -> Value:
    """A whole power. Raises ZeroDivisionError for 0 to a power that isn't positive, and TooLarge."""
    if exponent < 0:
        return power(divide(rational(1), base), -exponent)
    if not exponent:
        if not base.numerator:
            raise ZeroDivisionError
        return rational(1)
    number = base.rational
    if exponent > _MOST_POWER or (
        number is not None and _bits(number) * exponent > 2 * _MOST_BITS and abs(number) != 1
    ):
        raise TooLarge
    result = rational(1)
    for digit in bin(exponent)[2:]:
        result = multiply(result, result)
        if digit == "1":
            result = multiply(result, base)
    return result


def root(value: Value, degree: int = 2) -> Value | None:
    """The principal root where it is exact here: of rationals and of single atoms; None for any other.

    Roots of higher degree than 2 only where they come out even. Of a negative number only the square root is taken.
    """
    number = value.rational
    if number is not None:
        return _root_of_number(number, degree)
    if degree == 2 and value.denominator == _UNIT and len(value.numerator) == 1:
        (((radical, powers), number),) = value.numerator.items()
        plain = radical == 1 and number > 0 and all(each == 1 and name not in (_I,) for name, each in powers)
        if plain and len(powers) == 1 and (outer := _root_of_number(number, 2)) is not None:
            half = Value({(1, ((powers[0][0], Fraction(1, 2)),)): Fraction(1)})
            return multiply(outer, half)
    return None


def equal(left: Value, right: Value) -> bool:
    """Whether two values are equal for all values of their atoms. Raises TooLarge."""
    if left.denominator == right.denominator:
        return left.numerator == right.numerator
    return _product(left.numerator, right.denominator) == _product(right.numerator, left.denominator)


def key_of(value: Value) -> str:
    """A text that values share only where they are equal, and always where the divisor is 1."""
    lead = max(value.denominator)
    scale = value.denominator[lead]
    parts = []
    for polynomial in (value.numerator, value.denominator):
        scaled = sorted((monomial, number / scale) for monomial, number in polynomial.items())
        parts.append("+".join(_term_text(monomial, number) for monomial, number in scaled) or "0")
    return parts[0] if parts[1] == "1" else f"({parts[0]})/({parts[1]})"


def scaled_to_lead(value: Value) -> tuple[Polynomial, int]:
    """The numerator with 1 before its first term, and the sign of what was there: what relations to 0 keep."""
    if not value.numerator:
        return value.numerator, 1
    lead = value.numerator[max(value.numerator)]
    return {key: number / lead for key, number in value.numerator.items()}, 1 if lead > 0 else -1


def _term_text(monomial: Monomial, number: Fraction) -> str:
    radical, powers = monomial
    factors = [f"sqrt({radical})"] if radical != 1 else []
    factors += [name if each == 1 else f"{name}^({each})" for name, each in powers]
    return "*".join(factors if number == 1 and factors else [str(number), *factors])


def _bits(number: Fraction) -> int:
    return max(number.numerator.bit_length(), number.denominator.bit_length())


def _polynomial(terms: Iterable[tuple[Monomial, Fraction]]) -> Polynomial:
    total: dict[Monomial, Fraction] = {}
    for monomial, number in terms:
        total[monomial] = total.get(monomial, Fraction(0)) + number
        if len(total) > _MOST_TERMS or _bits(total[monomial]) > _MOST_BITS:
            raise TooLarge
    return {monomial: number for monomial, number in total.items() if number}


def _sum(left: Polynomial, right: Polynomial) -> Polynomial:
    return _polynomial([*left.items(), *right.items()])


def _product(left: Polynomial, right: Polynomial) -> Polynomial:
    if left == _UNIT or right == _UNIT:
        return right if left == _UNIT else left
    if len(left) * len(right) > 8 * _MOST_TERMS:
        raise TooLarge
    return _polynomial(
        _term_product(one, other, number * factor) for one, number in left.items() for other, factor in right.items()
    )


def _term_product(left: Monomial, right: Monomial, number: Fraction) -> tuple[Monomial, Fraction]:
    common = math.gcd(left[0], right[0])
    radical = left[0] // common * (right[0] // common)
    powers = dict(left[1])
    for name, each in right[1]:
        powers[name] = powers.get(name, Fraction(0)) + each
        if abs(powers[name]) > _MOST_POWER:
            raise TooLarge
    turns = powers.pop(_I, Fraction(0)) % 4  # i * i is -1
    if turns >= 2:
        number, turns = -number, turns - 2
    if turns:
        powers[_I] = turns
    kept = tuple(sorted((name, each) for name, each in powers.items() if each))
    return (radical, kept), number * common


def _inverse_term(monomial: Monomial, number: Fraction) -> Polynomial:
    """One over a term: 1/sqrt(r) is sqrt(r)/r, and 1/i is i cubed."""
    radical, powers = monomial
    inverse = tuple((name, -each) for name, each in powers)
    return _polynomial([_term_product((radical, inverse), _ONE, 1 / (number * radical))])


def _quotient(above: Polynomial, below: Polynomial) -> Value:
    if not above:
        return Value({})
    if len(below) == 2 and all(not powers for _, powers in below):
        first, second = below.items()  # Radicals alone: (a + b)(a - b) is rational.
        conjugate = _polynomial([first, (second[0], -second[1])])
        above, below = _product(above, conjugate), _product(below, conjugate)
    if len(below) == 1:
        ((monomial, number),) = below.items()
        return Value(_product(above, _inverse_term(monomial, number)), _UNIT)
    return Value(above, below)


def _root_of_number(number: Fraction, degree: int) -> Value | None:
    if number < 0:
        positive = _root_of_number(-number, 2) if degree == 2 else None
        return None if positive is None else multiply(positive, atom(_I))
    above, below = (_whole_root(part, degree) for part in (number.numerator, number.denominator))
    if above is not None and below is not None:
        return rational(Fraction(above, below))
    radicand = number.numerator * number.denominator
    if degree != 2 or radicand > _LARGEST_RADICAND:
        return None
    outer, radical = _without_squares(radicand)
    return Value({(radical, ()): Fraction(outer, number.denominator)})


def _whole_root(number: int, degree: int) -> int | None:
    """The root of a whole number where it is whole."""
    if degree == 2:
        candidate = math.isqrt(number)
    else:
        candidate = round(number ** (1 / degree)) if number < 2**200 else 0
    return candidate if candidate**degree == number else None


def _without_squares(number: int) -> tuple[int, int]:
    """``(outer, inner)`` with ``number = outer**2 * inner``, the inner one without a square."""
    outer, inner, factor = 1, 1, 2
    while factor * factor <= number:
        count = 0
        while number % factor == 0:
            number, count = number // factor, count + 1
        outer, inner = outer * factor ** (count // 2), inner * factor ** (count % 2)
        factor += 1
    return outer, inner * number
