"""Model text made safe to print: what a model writes may hold codes that move, recolour or reorder a terminal."""

import re
import unicodedata

_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # control sequences: colours, cursor moves
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # strings: window titles, links
    r"|\x1b[ -/]*[0-~]"  # two-character escapes: resets, character sets
)

_UNFINISHED = re.compile(
    r"(?:(?:\x1b\[|\x9b)[0-?]*[ -/]*"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*\x1b?"
    r"|\x1b[ -/]*)\Z"
)
"""An escape, as above, that more text may end."""

_NEWLINES = re.compile("\r\n|[\r\u2028\u2029\x85]")

_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks by which a text is shown in another order than it is stored in (Unicode's bidirectional controls)."""


def printable(text: str) -> str:
    """The text without terminal escapes, control characters and marks that reorder it; line breaks and tabs stay.

    Whatever is left holds no character that a terminal acts on. Half surrogate pairs become U+FFFD.
    """
    lines = _NEWLINES.sub("\n", _ESCAPES.sub("", text))
    return "".join(_shown(character) for character in lines)


def steady(text: str) -> str:
    """What of a text that is still being written is shown the same whatever follows, for ``printable`` as well.

    Left out are an escape that hasn't ended, and U+FFFD at the end, which may become a character.
    """
    unfinished = _UNFINISHED.search(text)
    return (text if unfinished is None else text[: unfinished.start()]).rstrip("\ufffd")


def shortened(text: str, limit: int) -> str:
    """The text, or its first ``limit`` characters and how many more there are."""
    return text if len(text) <= limit else f"{text[:limit]}… (+{len(text) - limit} characters)"


def abridged(text: str, limit: int) -> str:
    """The text, or its beginning and end, together ``limit`` characters, and how many are left out between."""
    if len(text) <= limit:
        return text
    end = limit // 3
    return f"{text[: limit - end]}… ({len(text) - limit} characters) …{text[-end:]}"


def _shown(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cs":
        return "\ufffd"
    hidden = character in _REORDERING or (category == "Cc" and character not in "\n\t")
    return "" if hidden else character
