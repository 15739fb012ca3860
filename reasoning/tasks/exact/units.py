r"""Units beside a number: ``5 cm``, ``5\text{ apples}``, ``\$5``, ``90^\circ``, ``50\%``; what they are called here."""

from collections.abc import Sequence

PERCENT, DEGREE = "percent", "degree"
_CURRENCIES = {
    r"\$": "dollar",
    "$": "dollar",
    "\u20ac": "euro",
    "\u00a3": "pound",
    "\u00a5": "yen",
    r"\pounds": "pound",
}
_SPELLINGS = {
    "dollar": "dollar dollars usd bucks",
    "cent": "cent cents",
    "euro": "euro euros eur",
    "percent": "percent percentage pct",
    "degree": "degree degrees deg",
    "radian": "radian radians rad",
    "mm": "mm millimeter millimeters millimetre millimetres",
    "cm": "cm centimeter centimeters centimetre centimetres",
    "meter": "meter meters metre metres",
    "km": "km kilometer kilometers kilometre kilometres",
    "inch": "in inch inches",
    "foot": "ft foot feet",
    "yard": "yd yard yards",
    "mile": "mi mile miles",
    "mg": "mg milligram milligrams",
    "gram": "gram grams",
    "kg": "kg kilogram kilograms",
    "pound": "lb lbs pound pounds",
    "ounce": "oz ounce ounces",
    "ton": "ton tons tonne tonnes",
    "ml": "ml milliliter milliliters millilitre millilitres",
    "liter": "liter liters litre litres",
    "gallon": "gal gallon gallons",
    "second": "sec secs second seconds",
    "minute": "min mins minute minutes",
    "hour": "hr hrs hour hours",
    "day": "day days",
    "week": "week weeks",
    "month": "month months",
    "year": "yr yrs year years",
    "mph": "mph",
    "km/h": "kmh kph",
    "unit": "unit units",
}
_UNITS = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings.split()}
# Within \text{...} single letters are units too; elsewhere they are variables.
_IN_TEXT = {"m": "meter", "g": "gram", "s": "second", "h": "hour", "l": "liter", "L": "liter", "c": "cent"}
_COUNTED = frozenset(
    "apple apples orange oranges book books student students person people child children boy boys girl girls man men "
    "woman women way ways time times point points ticket tickets card cards coin coins ball balls egg eggs game games "
    "number numbers side sides edge edges piece pieces page pages item items friend friends digit digits".split()
)
# Words that change what a number says, rather than what it counts.
_TELLING = frozenset(
    "or and if not no nor to through than less more most least about around between only plus minus times over "
    "half halves third thirds quarter quarters fourth fourths fifth fifths tenth tenths hundredth hundredths "
    "squared cubed factorial choose mod modulo base root percent million millions billion billions trillion "
    "trillions thousand thousands hundred hundreds dozen dozens ten score pair pairs zero one two three four five "
    "six seven eight nine eleven twelve twenty is are was but maybe actually wrong exactly double twice triple "
    "negative positive infinity pi remainder rest pm am".split()
)
_MOST_WORDS = 4
_SQUARE = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}


def split_unit(tokens: Sequence[str]) -> tuple[list[str], str]:
    r"""The tokens of a quantity without its unit, and the unit's one name, empty where there is none.

    Plain words are units where they are on a list; what ``\text{…}`` says is one unless it changes the number
    (``million``, ``or``). Squares and cubes are ``foot^2``.
    """
    rest = list(tokens)
    for sign in (rest[0], rest[-1]) if rest else ():
        if sign in _CURRENCIES and len(rest) > 1:
            rest.remove(sign)
            return rest, _CURRENCIES[sign]
    if len(rest) > 2 and rest[0] == "-" and rest[1] in _CURRENCIES:
        return [rest[0], *rest[2:]], _CURRENCIES[rest[1]]
    if len(rest) > 1 and rest[-1] in ("%", r"\%"):
        return rest[:-1], PERCENT
    if rest[-4:] in (_in_text("C"), _in_text("F")) and r"\circ" in rest:
        rest = rest[:-4]
    for ending in (["^", r"\circ"], ["^", "{", r"\circ", "}"]):
        if len(rest) > len(ending) and rest[-len(ending) :] == ending:
            return rest[: -len(ending)], DEGREE
    rest, exponent = _without_exponent(rest)
    before, unit = _worded(rest)
    return (list(tokens), "") if not unit or not before else (before, unit + (f"^{exponent}" if exponent else ""))


def _in_text(word: str) -> list[str]:
    return [r"\text", "{", word, "}"]


def _without_exponent(tokens: list[str]) -> tuple[list[str], str]:
    """A unit's power, ``ft^2`` or ``ft^{2}``, taken off."""
    for size in (2, 4):
        ending = tokens[-size:]
        if len(tokens) > size and ending[0] == "^" and (digits := [each for each in ending[1:] if each not in "{}"]):
            unit_before = tokens[-size - 1] == "}" or tokens[-size - 1].lower() in _UNITS
            if digits in (["2"], ["3"]) and unit_before:
                return tokens[:-size], digits[0]
    return tokens, ""


def _worded(tokens: list[str]) -> tuple[list[str], str]:
    if tokens[-1:] == ["}"] and r"\text" in tokens:
        start = len(tokens) - 1 - tokens[::-1].index(r"\text")
        inside = tokens[start + 2 : -1]
        return tokens[:start], "" if "}" in inside else _named(inside, True)
    start = len(tokens)
    while start > 0 and (tokens[start - 1].isalpha() or tokens[start - 1] == "/"):
        start -= 1
    for begin in range(start, len(tokens)):
        if unit := _named(tokens[begin:], False):
            return tokens[:begin], unit
    return tokens, ""


def _named(words: Sequence[str], in_text: bool) -> str:
    words = [word for word in words if word != "."]
    power = ""
    if len(words) > 1 and words[0].lower() in _SQUARE:
        power, words = f"^{_SQUARE[words[0].lower()]}", words[1:]
    names = [_name(word, in_text) for word in words]
    return " ".join(names) + power if names and len(names) <= _MOST_WORDS and all(names) else ""


def _name(word: str, in_text: bool) -> str:
    lower = word.lower()
    if word == "/" or lower in ("per", "an"):
        return "per"
    if lower in _UNITS:
        return _UNITS[lower]
    if in_text and word in _IN_TEXT:
        return _IN_TEXT[word]
    if lower in _COUNTED and (lower not in _TELLING or in_text):
        return lower.removesuffix("s")
    return lower.removesuffix("s") if in_text and word.isalpha() and len(word) > 1 and lower not in _TELLING else ""
