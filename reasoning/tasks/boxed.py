r"""The box of LaTeX that a mathematical text puts its answer into: the last ``\boxed{…}``, or ``\fbox{…}``."""

import re

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def holds_box(text: str) -> bool:
    """Whether a box opens anywhere."""
    return _BOX.search(text) is not None


def last_box(text: str) -> str | None:
    """What the last box holds; None without one, and where it doesn't close or holds nothing."""
    found = list(_BOX.finditer(text))
    end = _end_of_group(text, found[-1].end()) if found else None
    return text[found[-1].end() : end].strip() or None if found and end is not None else None


def closes(text: str) -> bool:
    """Whether a text may stand in a group: no brace in it closes what it doesn't open, or stays open."""
    return _end_of_group(text + "}", 0) == len(text)


def _end_of_group(text: str, start: int) -> int | None:
    """The place of the brace that closes a group whose content begins at ``start``; escaped braces don't count."""
    depth = 1
    for found in _BRACE.finditer(text, start):
        depth += (found[0] == "{") - (found[0] == "}")
        if depth == 0:
            return found.start()
    return None
