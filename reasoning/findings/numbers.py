"""How numbers are written, so that every table, sentence and picture says them alike: a true minus, thousands apart."""

from collections.abc import Callable

from reasoning.core.statistics import Interval

COUNTED_DIGITS = {"length": 1, "distinct": 2}
"""Digits after the point, the same all down a column, of scores that count something."""

_MOST_DIGITS = 4
CANT_TELL = "can't tell"


def fixed(value: float, digits: int, sign: bool = False) -> str:
    """A number with so many digits after the point; ``sign`` writes a plus too."""
    return _signed(f"{abs(value):,.{digits}f}", value, sign)


def number(value: float, name: str = "", digits: int = 3, scale: float | None = None, sign: bool = False) -> str:
    """The score ``name``, or any number, with ``digits`` after the point below 10 and fewer for what is larger.

    ``scale`` is for numbers of any unit: the size of what belongs together (an interval and its mean), whose digits
    all take; very small and very large ones then keep three leading digits.
    """
    size = abs(value if scale is None else scale)
    if scale is not None and 0 < size < 1e-3:
        return _signed(f"{abs(value):.3g}".replace("-", "−"), value, sign)
    if scale is not None and size >= 1e6:
        return large(value, sign)
    if size >= 1000:
        return fixed(value, 0, sign)
    return fixed(value, COUNTED_DIGITS.get(name, digits if size < 10 else 1), sign)


def short(value: float, name: str = "") -> str:
    """A number of a sentence: two digits after the point for shares."""
    return number(value, name, digits=2)


def plain(value: float) -> str:
    """Any recorded number, as short as its four leading digits allow."""
    return _signed(f"{abs(value):,}" if isinstance(value, int) else f"{abs(value):.4g}".replace("-", "−"), value)


def large(value: float, sign: bool = False) -> str:
    """A large count: ``2.35 M``, ``1.2e15`` as ``1.2 P``."""
    for size, letter in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return _signed(f"{abs(value) / (1e3 if letter == 'k' else size):.3g} {letter}", value, sign)
    return fixed(value, 0, sign)


def amount(value: float) -> str:
    """What something costs, in at most three or four digits: ``0.5``, ``183``, ``1,024``, ``2.35 M``."""
    return large(value) if value >= 1e4 else f"{value:.3g}" if value < 1000 else fixed(value, 0)


def ends(low: float, high: float, write: Callable[[float], str], signed: bool = False) -> str:
    """An interval's ends: ``0.250–0.750``, and ``−0.250 to 0.750`` where a dash would stand before a sign."""
    return f"{write(low)}{' to ' if signed or low < 0 else '–'}{write(high)}"


def points(difference: Interval) -> tuple[str, str]:
    """A difference of shares in percentage points with its sign, and its interval: ``+66``, ``63 to 69``."""
    mean, low, high = (100 * value for value in (difference.mean, difference.low, difference.high))
    digits = 0 if high - low >= 2 and abs(mean) >= 1 else 1
    while (
        digits < _MOST_DIGITS and difference.excludes(0) and min(abs(round(low, digits)), abs(round(high, digits))) == 0
    ):
        digits += 1  # An interval that ends just before 0 must not look as if it held it.
    return fixed(mean, digits, sign=True), f"{fixed(low, digits)} to {fixed(high, digits)}"


def _signed(written: str, value: float, sign: bool = False) -> str:
    """A written size with its sign: the minus of mathematics, which is as wide as a plus, and none before a zero."""
    if not written.strip("0.,"):
        return written
    return f"{'−' if value < 0 else '+' if sign else ''}{written}"
