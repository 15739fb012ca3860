"""How far the steps of a ``tokenizer.json`` can lengthen a text: a few that each double it would fill any memory."""

import base64
from collections.abc import Iterator
from typing import Any

_LISTS = ("normalizers", "decoders")
"""Where a sequence has its steps."""

_COMPOSED = 18
"""Characters that one can become by Unicode's compatible forms (U+FDFA)."""


def longest_growth(step: Any) -> float:
    """An upper bound on characters after a normaliser or decoder over those before, for any text; 1 where it's no step.

    ``step`` is the record in the file; steps of a sequence multiply. Not counted is the one letter that lower case
    makes two.
    """
    if not isinstance(step, dict):
        return 1.0
    growth = 1.0
    for each in _parts(step):
        growth *= _growth(each)
        if growth > 1e12:  # more says no more
            break
    return growth


def _parts(step: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The steps of a sequence, however they are nested, one by one."""
    waiting: list[Any] = [step]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += each
        elif isinstance(each, dict):
            inner = [each[name] for name in _LISTS if name in each]
            waiting += inner
            if not inner:  # no sequence
                yield each


def _growth(step: dict[str, Any]) -> float:
    kind = step.get("type")
    content = step.get("content", step.get("prepend"))
    if kind == "Replace" and isinstance(content, str):
        pattern = step.get("pattern")
        found = pattern.get("String") if isinstance(pattern, dict) else None
        # A regular expression may match nothing, between any two characters and at both ends.
        return max(1.0, len(content) / len(found)) if isinstance(found, str) and found else 1.0 + 2 * len(content)
    if kind == "Prepend" and isinstance(content, str):
        return 1.0 + len(content)
    if kind in ("NFKC", "NFKD"):
        return _COMPOSED
    return _of_map(step.get("precompiled_charsmap")) if kind == "Precompiled" else 1.0


def _of_map(written: Any) -> float:
    """Of sentencepiece's map from characters to texts: four bytes of length, a trie, and the texts, each ended by 0."""
    try:
        data = base64.b64decode(written)
    except (ValueError, TypeError):
        return 1.0  # the library refuses it
    texts = data[4 + int.from_bytes(data[:4], "little") :]
    return max(1.0, *(float(len(text)) for text in texts.split(b"\0")))
