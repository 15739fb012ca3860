"""Mathematical text as tokens: LaTeX, plain text and Unicode's signs in one spelling, and the parts between commas."""

import re
import unicodedata
from collections.abc import Sequence

DEEPEST = 40
"""Brackets within brackets; deeper ones are no answers, and reading them would need much of the stack."""

CALLED = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh log ln lg exp gcd lcm max min det".split()
)
"""Functions by the names that LaTeX has for them."""

_SIGNS = {
    "\u03b1": r"\alpha ",
    "\u03b2": r"\beta ",
    "\u03b8": r"\theta ",
    "\u03bb": r"\lambda ",
    "\u2212": "-",
    "\u2013": "-",
    "\u00d7": "*",
    "\u22c5": "*",
    "\u00b7": "*",
    "\u00f7": "/",
    "\u2044": "/",
    "\u03c0": r"\pi ",
    "\u221e": r"\infty ",
    "\u221a": " sqrt ",
    "\u2264": r"\le ",
    "\u2265": r"\ge ",
    "\u2260": r"\ne ",
    "\u00b1": r"\pm ",
    "\u222a": r"\cup ",
    "\u2208": r"\in ",
    "\u2248": r"\approx ",
    "\u00b0": r"^\circ ",
    "\u00b2": "^2 ",
    "\u00b3": "^3 ",
    "\u00a0": " ",
    "\u202f": r"\,",
    "\u2205": r"\emptyset ",
}
_SYNONYMS = {
    **dict.fromkeys(("dfrac", "tfrac", "cfrac"), "frac"),
    **dict.fromkeys(("cdot", "times", "ast"), "*"),
    "div": "/",
    "leq": r"\le",
    "leqslant": r"\le",
    "geq": r"\ge",
    "geqslant": r"\ge",
    "neq": r"\ne",
    "lt": "<",
    "gt": ">",
    "lbrack": "[",
    "rbrack": "]",
    "lbrace": r"\{",
    "rbrace": r"\}",
    "lvert": "|",
    "rvert": "|",
    "vert": "|",
    "mid": "|",
    "varnothing": r"\emptyset",
    "degree": r"^\circ",
    "land": r"\text{and}",
    "lor": r"\text{or}",
    "wedge": r"\text{and}",
    "vee": r"\text{or}",
    "approxeq": r"\approx",
    "simeq": r"\approx",
}
_DROPPED = re.compile(
    r"\\(?:left|right|[bB]ig+[lr]?|displaystyle|textstyle|limits|nolimits|quad|qquad|hspace\{[^{}]*\}|phantom\{[^{}]*\}|"
    r"mathstrut|strut|thinspace)(?![A-Za-z])\.?"
)
_STYLED = re.compile(
    r"\\(?:mathrm|mathbf|mathit|mathsf|rm|bf|it|boldsymbol|mathop|mathbb|hbox|mbox|text(?:bf|rm|it|sf|normal)?|"
    r"operatorname)\*?\s*(?=\{)"
)
# Letters and numbers in another type are what they are; upright letters are units but for the two constants.
_PLAIN_TYPE = re.compile(r"\\(?:mathbf|mathit|mathsf|boldsymbol|bf|it|bm)\s*\{\s*([A-Za-z0-9.+-]+)\s*\}")
_UPRIGHT = re.compile(r"\\(?:mathrm|text|rm)\s*\{\s*([ei]|[^A-Za-z{}]+)\s*\}")
_BOX = re.compile(r"\\f?box(?:ed)?\s*(?=\{)")
_COLOURED = re.compile(r"\\(?:text)?color\s*\{[A-Za-z]+\}")
_REPEATING = re.compile(r"(?<![0-9.])([0-9]*)\.([0-9]*)\\overline\s*\{([0-9]+)\}")
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)|(?P<command>\\[A-Za-z]+|\\[{}|%$#])|(?P<word>[A-Za-z]+)|(?P<sign>.))",
    re.DOTALL,
)
_THOUSANDS = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?:(?:,\\! ?|,|\{,\}|\\,|\\;|\\ |\\!)[0-9]{3})+(?![0-9])")
_SPLIT_THOUSANDS = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?:(?:,\\! ?|\{,\}|\\,|\\;|\\ |\\!)[0-9]{3})+(?![0-9])")
_SPACED_THOUSANDS = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?: [0-9]{3})+(?![0-9])")
_OPENING, _CLOSING = {"(": ")", "[": "]", "{": "}", r"\{": r"\}"}, {")", "]", "}", r"\}"}


def one_spelling(text: str, commas_join: bool = True) -> str:
    r"""A text with one spelling for each thing: ``\dfrac`` and ``\frac``, ``×`` and ``\cdot``, ``1{,}000`` and 1000.

    ``commas_join`` says what a comma before a group of three digits does: it joins (``1,000``), or it separates, as in
    a tuple; ``{,}`` and narrow spaces always join. Dollars around mathematics, sizes of brackets and spaces are gone,
    ``\text{…}`` and its kin are ``\text{…}``.
    """
    text = unicodedata.normalize("NFC", text).translate(str.maketrans(_SIGNS))
    text = _without_delimiters(text)
    if len(_BOX.findall(text)) == 1:
        text = _BOX.sub("", text)
    text = _COLOURED.sub("", text)
    text = _REPEATING.sub(_as_fraction, text)
    text = _UPRIGHT.sub(r" \1 ", _PLAIN_TYPE.sub(r" \1 ", text))
    text = _STYLED.sub(r"\\text", text)
    text = re.sub(r"\\text ?\{([^{}]*)\} ?/ ?\\text ?\{([^{}]*)\}", r"\\text{\1 per \2}", text)
    for typed, sign in (("<=", r"\le "), (">=", r"\ge "), ("!=", r"\ne ")):
        text = text.replace(typed, sign)
    for pattern in (_THOUSANDS if commas_join else _SPLIT_THOUSANDS, _SPACED_THOUSANDS):
        text = pattern.sub(lambda found: re.sub(r"[^0-9]", "", found[0]), text)
    text = _DROPPED.sub(" ", text)
    text = re.sub(r"\\[,;:!> ~]|~|&nbsp;", " ", text)
    text = re.sub(r"\\([A-Za-z]+)", _synonym, text)
    text = re.sub(r"\s+", " ", text).strip()
    return re.sub(r"(?<=[^.]) ?\.$", "", text)


def _as_fraction(found: re.Match[str]) -> str:
    r"""``0.1\overline{6}`` is 16/99 less what of it doesn't repeat: (16 - 1) / 90."""
    before, fixed, repeated = found.groups()
    above = int(before + fixed + repeated) - int(before + fixed or "0")
    return rf"(\frac{{{above}}}{{{'9' * len(repeated)}{'0' * len(fixed)}}})"


def _synonym(found: re.Match[str]) -> str:
    other = _SYNONYMS.get(found[1])
    if other is None:
        return found[0]
    return f"{other} " if not other.isalpha() else f"\\{other}"


def _without_delimiters(text: str) -> str:
    r"""Without the ``$…$``, ``\(…\)`` and ``\[…\]`` that stand around all of a text or parts of it."""
    text = re.sub(r"\\[()\[\]]", " ", text).strip()
    text = re.sub(r"\*\*|__", " ", text) if text.startswith(("**", "__")) else text
    text = text.strip()
    if text.count("$") - text.count(r"\$") and not (text.count("$") - text.count(r"\$")) % 2:
        text = re.sub(r"(?<!\\)\$", " ", text)
    return text.strip()


def tokens_of(text: str) -> list[str]:
    """The tokens of a text in one spelling: numbers, words of letters, commands, and single signs."""
    return [found[0].strip() for found in _TOKEN.finditer(text) if found[0].strip()]


def balanced(tokens: Sequence[str]) -> bool:
    """Whether brackets close as they open, not too deep; half-open intervals close ``[`` with ``)`` and the reverse."""
    open_ones: list[str] = []
    for token in tokens:
        if token in _OPENING:
            open_ones.append(token)
            if len(open_ones) > DEEPEST:
                return False
        elif token in _CLOSING:
            if not open_ones:
                return False
            opened = open_ones.pop()
            if _OPENING[opened] != token and not (opened in "([" and token in ")]"):
                return False
    return not open_ones


def split_at(tokens: Sequence[str], separators: Sequence[str]) -> tuple[list[list[str]], list[str]]:
    """The parts between ``separators`` outside all brackets, and the separators that stood there."""
    parts: list[list[str]] = [[]]
    found: list[str] = []
    depth = 0
    for token in tokens:
        depth += (token in _OPENING) - (token in _CLOSING)
        if depth == 0 and token in separators:
            found.append(token)
            parts.append([])
        else:
            parts[-1].append(token)
    return parts, found


def enclosed(tokens: Sequence[str]) -> bool:
    """Whether the first token opens a bracket that the last one closes."""
    if len(tokens) < 2 or tokens[0] not in _OPENING:
        return False
    depth = 0
    for place, token in enumerate(tokens):
        depth += (token in _OPENING) - (token in _CLOSING)
        if depth == 0:
            return place == len(tokens) - 1
    return False
