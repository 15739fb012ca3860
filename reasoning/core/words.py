"""What of a text counts when two are compared: all its words as they stand, or only what survives a reformatting."""

import re
import unicodedata

_TYPOGRAPHY = str.maketrans(
    {"\u00d7": "*", "\u00f7": "/", "\u2044": "/", **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-")}
)

# What writers set between thousands, LaTeX's comma and narrow spaces too, where three digits and no fourth follow.
_THOUSANDS = re.compile("(?<=[0-9])(?:,|\\{,\\}|['\u2019\u066c\u00a0\u2009\u202f])(?=[0-9]{3}(?![0-9]))")
_APOSTROPHE = re.compile("(?<=[^\\W\\d_])['\u2018\u2019\u02bc](?=[^\\W\\d_])")

OPERATORS = "-+*/=<>^"
"""What stands between two numbers is a word of its own: 9-5 and 9+5 are two questions."""

_WORD = re.compile(
    r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+"
    # Scripts that leave no space between words: each character is one.
    r"|[\u0e00-\u0e7f\u0e80-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
    r"|[^\W\d_\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+"
    rf"|(?<=[0-9)\]}}%])\s*([{re.escape(OPERATORS)}])(?=\s*-?\s*[.0-9(\[{{$])"
)
_DIGIT = re.compile(r"(?![0-9])\d")


def words_of(question: str) -> str:
    """What makes two questions the same: their words, whatever white space is between them, letters composed (NFC)."""
    return " ".join(unicodedata.normalize("NFC", question).split())


def plain_words(text: str) -> list[str]:
    """The words of a text without what a reformatting changes: case, punctuation, white space, forms of numbers.

    Letters count case-folded in Unicode's compatibility form (NFKC), so that full-width ones are the usual ones.
    ``1,000``, ``1000.0`` and ``\uff11\uff10\uff10\uff10`` are one number, and digits of all scripts are the same. Of
    punctuation only an operator between two numbers is a word.
    """
    if not text.isascii():
        # Thousands are joined before NFKC, which makes narrow spaces usual ones.
        text = _THOUSANDS.sub("", _DIGIT.sub(lambda found: str(unicodedata.decimal(found[0])), text))
        text = unicodedata.normalize("NFKC", text).translate(_TYPOGRAPHY)
    text = _APOSTROPHE.sub("", _THOUSANDS.sub("", text)).casefold()
    return [_plain(found[1] or found[0]) for found in _WORD.finditer(text)]


def _plain(word: str) -> str:
    """A word as it is compared; a number without outer zeros."""
    if not ("0" <= word[0] <= "9" or word[0] == "."):
        return word
    whole, _, fraction = word.partition(".")
    fraction = fraction.rstrip("0")
    return (whole.lstrip("0") or "0") + (f".{fraction}" if fraction else "")
