r"""Expressions as exact values: ``\frac{1}{2}``, ``3\sqrt{2} + 1``, ``1.5e3``, ``2x(x+1)``, ``\sin\frac{\pi}{7}``."""

import math
from collections.abc import Sequence
from fractions import Fraction

from reasoning.tasks.exact.algebra import (
    TooLarge,
    Value,
    add,
    atom,
    atoms_of,
    divide,
    key_of,
    multiply,
    negate,
    power,
    rational,
)
from reasoning.tasks.exact.functions import ENDS, Unreadable, binomial, factorial, raised, root_of
from reasoning.tasks.exact.latex import CALLED, DEEPEST

_LETTERS = 3
"""Letters in a row that are a product of variables; a longer row is a word, and no expression."""
_GREEK = frozenset(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau "
    "upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell hbar".split()
)
_ACCENTS = frozenset("vec hat bar tilde overrightarrow overline".split())
_DIGITS = tuple("0123456789")


def read_expression(tokens: Sequence[str]) -> Value:
    """The exact value of an expression.

    Functions of something are atoms, by their argument's value. Raises Unreadable for what is no expression, is
    ambiguous (``1/2x``) or divides by zero, and TooLarge for what exact arithmetic would take long with.
    """
    if not tokens:
        raise Unreadable
    reader = _Reader(tokens)
    try:
        value = reader.sum(0)
    except ZeroDivisionError:
        raise Unreadable from None
    endless = r"\infty" in atoms_of(value) and key_of(value) not in ENDS
    if reader.place != len(reader.tokens) or endless:
        raise Unreadable
    return value


class _Reader:
    """A recursive descent over tokens; each method reads one kind of thing from ``place`` on."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens, self.place = tokens, 0

    def next(self, ahead: int = 0) -> str:
        return self.tokens[self.place + ahead] if self.place + ahead < len(self.tokens) else ""

    def take(self, *expected: str) -> str:
        token = self.next()
        if not token or (expected and token not in expected):
            raise Unreadable
        self.place += 1
        return token

    def sum(self, depth: int) -> Value:
        if depth > DEEPEST:
            raise Unreadable
        total = self.signed(depth)
        while self.next() in ("+", "-"):
            total = add(total, self.signed(depth))
        return total

    def signed(self, depth: int) -> Value:
        minus = False
        while self.next() in ("+", "-"):
            minus ^= self.take() == "-"
        value = self.product(depth)
        return negate(value) if minus else value

    def product(self, depth: int) -> Value:
        start = self.place
        value = self.factor(depth)
        divided = False
        while True:
            token = self.next()
            if token in ("*", "/"):
                self.take()
                other = self.negative_factor(depth)
                value = multiply(value, other) if token == "*" else divide(value, other)
                divided = token == "/"
            elif self.begins_factor():
                if divided and not self.tokens[self.place - 1].replace(".", "").isdigit():
                    raise Unreadable  # 1/xy
                mixed = self.mixed(start)
                if divided and self.tokens[start].isalpha():
                    raise Unreadable
                other = self.factor(depth)
                if mixed and self.next() == "/":
                    self.take()
                    other = divide(other, self.factor(depth))
                value = add(value, other) if mixed else multiply(value, other)
            else:
                return value

    def mixed(self, start: int) -> bool:
        r"""Whether a whole number and a proper fraction follow each other: ``1\frac{1}{2}`` is 3/2, ``1 1/2`` too."""
        rest = self.tokens[self.place :]
        if self.place - start != 1 or not self.tokens[start].isdigit():
            return False
        if rest[:1] == [r"\frac"]:
            digits = [token for token in rest[1:7] if token not in "{}"]
            return len(digits) > 1 and digits[0].isdigit() and digits[1].isdigit() and int(digits[0]) < int(digits[1])
        return len(rest) > 2 and rest[0].isdigit() and rest[1] == "/" and rest[2].isdigit()

    def negative_factor(self, depth: int) -> Value:
        if self.next() == "-":
            self.take()
            return negate(self.factor(depth))
        return self.factor(depth)

    def begins_factor(self) -> bool:
        token = self.next()
        if _is_number(token):
            return self.number_follows()
        if token == "{" and _is_number(self.next(1)):
            return False  # 1{2} is seen as 12.
        return (
            token in ("(", "[", "{")
            or token.isalpha()
            or (token.startswith("\\") and token[1:].isalpha() and self.known(token))
        )

    def number_follows(self) -> bool:
        """Whether a number belongs to what it follows: as a mixed number's fraction, or after ``!`` or a bracket."""
        before = self.tokens[self.place - 1]
        if before in ("!", ")"):
            return True  # 3!7!, (n-2)2^n
        return before.isdigit() and self.next().isdigit() and self.next(1) == "/" and self.next(2).isdigit()

    @staticmethod
    def known(token: str) -> bool:
        name = token[1:]
        return name in CALLED | _GREEK | _ACCENTS or name in ("frac", "sqrt", "pi", "binom", "infty", "lfloor", "lceil")

    def factor(self, depth: int) -> Value:
        value = self.primary(depth)
        while self.next() in ("^", "!"):
            if self.take() == "!":
                value = factorial(value)
            else:
                if self.next() == r"\circ":
                    raise Unreadable
                value = raised(value, self.exponent(depth))
                if self.next() == "^":
                    raise Unreadable
        return value

    def exponent(self, depth: int) -> Value:
        if self.next() == "{":
            return self.group(depth)
        if self.next() == "-":
            self.take()
            return negate(self.exponent(depth))
        return self.primary(depth + 1)

    def group(self, depth: int) -> Value:
        closing = {"{": "}", "(": ")", "[": "]"}[self.take("{", "(", "[")]
        value = self.sum(depth + 1)
        self.take(closing)
        return value

    def argument(self, depth: int) -> Value:
        r"""What a fraction is of: a group, or one token, of whose digits only the first (``\frac12``)."""
        token = self.next()
        if token.isdigit() and len(token) > 1:
            self.tokens = [*self.tokens[: self.place], token[0], token[1:], *self.tokens[self.place + 1 :]]
        return self.group(depth) if token == "{" else self.primary(depth + 1)

    def primary(self, depth: int) -> Value:
        if depth > DEEPEST:
            raise Unreadable
        token = self.next()
        if token in ("(", "[", "{"):
            return self.group(depth)
        if token == "|":
            return self.between("|", "|", "abs", depth)
        self.take()
        if _is_number(token):
            return self.number(token)
        if token.isalpha() and token.isascii():
            return self.word(token, depth)
        return self.command(token[1:], depth) if token.startswith("\\") else self.fail()

    def fail(self) -> Value:
        raise Unreadable

    def number(self, text: str) -> Value:
        digits = text.lower().partition("e")[2].lstrip("+-")
        if len(digits) > 3:
            raise TooLarge
        return rational(Fraction(text))

    def word(self, token: str, depth: int) -> Value:
        if token in CALLED or token in ("sqrt", "pi", "abs"):
            return self.command(token, depth, plain=True)
        if len(token) > _LETTERS:
            raise Unreadable
        value = rational(1)
        for letter in token[:-1]:
            value = multiply(value, atom(letter))
        return multiply(value, atom(token[-1] + self.subscript()))

    def subscript(self) -> str:
        if self.next() != "_":
            return ""
        self.take()
        if self.next() == "{":
            start = self.place
            while self.next() != "}":
                self.take()
            self.take("}")
            return "_" + "".join(self.tokens[start + 1 : self.place - 1])
        return "_" + self.take()

    def command(self, name: str, depth: int, plain: bool = False) -> Value:
        if name in ("frac", "binom"):
            above, below = self.argument(depth), self.argument(depth)
            return divide(above, below) if name == "frac" else binomial(above, below)
        if name == "sqrt":
            return self.root(depth, plain)
        if name == "pi":
            return atom(r"\pi")
        if name == "infty":
            return atom(r"\infty")
        if name == "lfloor":
            return self.between(r"\lfloor", r"\rfloor", "floor", depth, opened=True)
        if name == "lceil":
            return self.between(r"\lceil", r"\rceil", "ceil", depth, opened=True)
        if name in CALLED or name == "abs":
            return self.function(name, depth)
        if name in _GREEK:
            return atom(f"\\{name}{self.subscript()}")
        if name in _ACCENTS:
            return self.accented(name)
        raise Unreadable

    def accented(self, name: str) -> Value:
        """A letter, or the letters of two points, under an arrow or a hat."""
        letters = [self.take()]
        if letters == ["{"]:
            letters = [self.take()]
            self.take("}")
        if not letters[0].lstrip("\\").isalpha():
            raise Unreadable
        return atom(f"\\{name}{{{letters[0]}}}{self.subscript()}")

    def root(self, depth: int, plain: bool) -> Value:
        degree = 2
        if self.next() == "[" and not plain:
            self.take("[")
            index = self.sum(depth + 1).whole
            self.take("]")
            if index is None or not 2 <= index <= 100:
                raise Unreadable
            degree = index
        of = (
            self.group(depth) if self.next() == "{" else self.primary(depth + 1)
        )  # of 12 in \\sqrt12, which people mean
        return root_of(of, degree)

    def between(self, opening: str, closing: str, name: str, depth: int, opened: bool = False) -> Value:
        if not opened:
            self.take(opening)
        inner = self.sum(depth + 1)
        self.take(closing)
        number = inner.rational
        if number is None:
            return atom(f"{name}({key_of(inner)})")
        rounded = {"abs": abs, "floor": math.floor, "ceil": math.ceil}[name]
        return rational(Fraction(rounded(number)))

    def function(self, name: str, depth: int) -> Value:
        below, times = "", 1
        while self.next() in ("_", "^"):
            if self.take() == "_":
                below = key_of(self.argument(depth))
            else:
                exponent = self.exponent(depth).whole
                if exponent is None or exponent < 1:
                    raise Unreadable  # \sin^{-1}: the inverse, or one over it?
                times = exponent
        of = self.group(depth) if self.next() in ("(", "{") else self.juxtaposed(depth)
        if name == "abs" and of.rational is not None:
            return rational(abs(of.rational))
        if name == "exp":
            return raised(atom("e"), of)
        head = f"{name}_{below}" if below else name
        return power(atom(f"{head}({key_of(of)})"), times)

    def juxtaposed(self, depth: int) -> Value:
        r"""The argument of a function without brackets: ``\sin 2x``, up to the next sign, bracket or function."""
        value = self.factor(depth + 1)
        while self.begins_factor() and self.next() not in ("(", "[") and self.next().lstrip("\\") not in CALLED:
            value = multiply(value, self.factor(depth + 1))
        return value


def _is_number(token: str) -> bool:
    return token[:1] in _DIGITS or (token[:1] == "." and len(token) > 1)
