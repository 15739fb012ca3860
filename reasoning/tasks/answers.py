"""How answers are compared: numbers by their exact value, however they are written, everything else as text.

The one reader of numbers: tasks, rewards and votes share it, so that a vote counts as equal what a reward calls equal.
"""

import re
import unicodedata
from fractions import Fraction
from functools import lru_cache

_MINUS, _SIGNS = "-\u2212", "$\u20ac\u00a3\u00a5"
_CURRENCY = rf"\\?[{_SIGNS}]"
# A minus right after a letter, digit, percent sign or closing bracket, or after a full stop, subtracts.
_AFRESH = r"(?<![^\W_])(?<![.)\]}%])"
_SIGN = rf"{_AFRESH}(?:(?<![{_SIGNS}])[{_MINUS}](?:{_CURRENCY})?|{_CURRENCY}[{_MINUS}])"
# ASCII digits only: int() and str.isdigit() also take those of other scripts. Before groups of three stand commas, in
# LaTeX within braces, or narrow spaces.
_COMMA = r"(?:,|\{,\}|\u202f)"
_DIGITS = rf"(?:[0-9]{{1,3}}(?:{_COMMA}[0-9]{{3}})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|(?<![\w.)\]}}])\.[0-9]+"
# The look ahead is for speed alone: without it most of the time goes into places where no number can begin.
_NUMBER = re.compile(rf"(?=[{_MINUS}0-9.{_SIGNS}\\])(?:{_SIGN})?(?:{_DIGITS})")
_WHOLE = re.compile(rf"\+?(?:{_CURRENCY} ?)?({_NUMBER.pattern}) ?(?:\\?%|{_CURRENCY})?\.?")
_LONGEST = 40
"""Characters of a number; longer ones are no answers, and exact arithmetic with them would take long."""


def last_number(text: str) -> str | None:
    """The last number of ``text`` as it is written (``-3``, ``.5``, ``1,250.50``, ``-$3``), or None.

    A comma (LaTeX's ``{,}`` and a narrow space too) before a group of three digits joins, any other separates. A minus
    (ASCII or U+2212) right after a letter, digit or closing bracket is a subtraction: the last number of ``9-5`` is 5.
    A number of more than 40 characters is none.
    """
    numbers = _NUMBER.findall(text)
    return numbers[-1] if numbers and len(numbers[-1]) <= _LONGEST else None


def number_value(text: str) -> Fraction | None:
    """The exact value of a text that is a number as a whole, or None for any other text.

    Beside it may stand a currency or percent sign, which don't count (``$1,000`` is 1000, ``50%`` is 50), a plus, and
    a full stop. ``3/4``, ``2^10``, ``12:30`` and ``6 apples`` are no numbers as a whole.
    """
    text = text.strip()
    return _value(text) if len(text) <= _LONGEST else None


@lru_cache(maxsize=65_536)  # Votes and rewards read the same few answers again and again, 10 us each.
def _value(text: str) -> Fraction | None:
    found = _WHOLE.fullmatch(text)
    if found is None:
        return None
    value = Fraction(re.sub(r"[^0-9.]", "", found[1]))
    return -value if any(sign in found[1] for sign in _MINUS) else value


def without_thousands(answer: str) -> str:
    """An answer that is a number as a whole without the commas between its thousands; any other as it is written."""
    return answer if number_value(answer) is None else re.sub(_COMMA, "", answer)


def answer_value(answer: str) -> Fraction | str:
    """What an answer is compared by: its value where it is a number as a whole, else its text without outer space.

    So ``6``, ``6.0`` and ``$6`` are one answer, and ``06`` too; ``Paris`` and ``paris`` are two. Letters count composed
    (NFC), so that two spellings of ``café`` are one.
    """
    value = number_value(answer)
    return composed(answer) if value is None else value


def composed(answer: str) -> str:
    """An answer as texts are compared: without outer space, in Unicode's composed form (NFC, UAX 15)."""
    return unicodedata.normalize("NFC", answer.strip())


_ARTICLES = ("a", "an", "the")
_JOINTS = "-/\u2010\u2011\u2012\u2013\u2014"


def phrase_words(text: str) -> list[str]:
    """The words of a text as names are compared: whatever their case, without punctuation and articles.

    As the normalisation of SQuAD (arXiv 1606.05250), but for letters of all scripts (NFKC), and dashes and slashes
    part words: ``The U.S.`` is ``us``, ``Port-au-Prince`` is three words. A text of nothing else keeps its articles.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    parted = "".join(" " if letter in _JOINTS else letter for letter in folded)
    kept = "".join(letter for letter in parted if not unicodedata.category(letter).startswith("P"))
    words = kept.split()
    return [word for word in words if word not in _ARTICLES] or words


def phrase_value(answer: str) -> Fraction | str:
    """What a name, or another short answer in words, is compared by: the value of a number, else its ``phrase_words``.

    A text without a letter or digit is compared as it is written.
    """
    value = number_value(answer)
    return value if value is not None else " ".join(phrase_words(answer)) or composed(answer)
