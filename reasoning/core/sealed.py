"""Small records and texts that carry their own SHA-256, so that whoever reads one sees that it is as it was written.

What was written before there were seals has none and is read as it is.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reasoning.core.errors import InputError
from reasoning.core.files import read_json, read_text, write_json
from reasoning.core.hashes import hash_json

_KEY = "sha256"
_LINE = "# SHA-256 of what follows: "


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with the hash of the rest of it."""
    return {**record, _KEY: hash_json(record)}


def write_sealed(path: Path, record: Mapping[str, Any]) -> None:
    """Writes a record with its hash, as ``write_json`` does."""
    write_json(path, sealed(record))


def read_sealed(path: Path) -> Any:
    """What a file of JSON holds, without its seal. Raises InputError where that says something else, and as
    ``read_json``.
    """
    content = read_json(path)
    if not isinstance(content, dict) or _KEY not in content:
        return content
    record = {name: value for name, value in content.items() if name != _KEY}
    if content[_KEY] != hash_json(record):
        raise InputError(f"{path} is not as it was written: its SHA-256 is another than the one that it holds")
    return record


def sealed_text(text: str) -> str:
    """An experiment's text below a comment that holds its hash. (A last line would go with whatever is cut off.)"""
    return f"{_LINE}{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def check_sealed_text(path: Path, expected: str = "") -> None:
    """Raises InputError for a file whose text isn't as ``sealed_text`` made it, and as ``read_text``.

    One without a seal is as it was written, unless behind its first line comes the text that is ``expected`` there.
    """
    first, _, text = read_text(path).partition("\n")
    if (first.startswith(_LINE) or text == expected) and f"{first}\n{text}" != sealed_text(text):
        raise InputError(f"{path} is not as it was written: its SHA-256 is another than its first line says")
