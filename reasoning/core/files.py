"""Files that are whole or absent: every durable write of the package goes through these few functions."""

import contextlib
import errno
import fcntl
import json
import math
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from reasoning.core.errors import InputError
from reasoning.core.pointers import refuse_pointer_text

PARTIAL_SUFFIX = ".partial"
"""Ends the name of everything that isn't finished; nothing so named is ever read as a result."""

_LOCK_NAME = ".lock"
"""The file that whoever holds a folder holds."""

SETTLED_SECONDS = 1.0
"""Between making a file and locking it."""

_JSON_BYTES = 2**28
_JSON_DEPTH = 100
_JSON_DIGITS = 300
"""Whole numbers with more are no float either."""

_LEFT = re.compile(rf"\..+\.(\d{{1,9}}){re.escape(PARTIAL_SUFFIX)}")
"""What ``write_atomic`` calls a file that isn't finished."""

_SURROGATE = re.compile("[\ud800-\udfff]")


def write_atomic(path: Path, data: bytes | str | Iterable[bytes]) -> None:
    """Replace a file in one move, so that a reader or a power cut finds the old content or the new, never a mixture.

    Text is written as UTF-8, pieces of bytes one after the other. The data, then the folder entry, are on disk when
    this returns. Raises OSError that names the file (a failed write by itself doesn't); the old content then stands.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL_SUFFIX}")
    try:
        with open(partial, "wb") as file:
            with contextlib.suppress(OSError):  # Some network storage has no locks.
                fcntl.flock(file, fcntl.LOCK_EX)
            data = data.encode() if isinstance(data, str) else data
            file.writelines([data] if isinstance(data, bytes) else data)
            file.flush()
            os.fsync(file.fileno())
            os.replace(partial, path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    sync(path.parent)


def sweep_partials(folder: Path) -> None:
    """Remove what ``write_atomic`` left, anywhere under a folder, when its process was killed.

    A file stays while a process with its id lives and holds it (in a container the next one often has the same id). For
    folders under ``lock``, whose writers are all on this machine.
    """
    for place, _, names in os.walk(folder):
        for name in names:
            left = _LEFT.fullmatch(name)
            path = Path(place, name)
            if left and (not is_alive(int(left[1])) or _is_let_go(path)):
                path.unlink(missing_ok=True)


def _is_let_go(path: Path) -> bool:
    """Whether nobody holds a file that wasn't made just now."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return time.time() - os.fstat(file.fileno()).st_mtime > SETTLED_SECONDS
    return False


def is_alive(process: int) -> bool:
    """Whether this machine has a process of that id."""
    try:
        os.kill(process, 0)
        return True
    except OSError as error:
        return error.errno != errno.ESRCH


def json_text(value: Any) -> str:
    """A value as readable JSON, keys sorted, so that equal values give equal bytes.

    Raises ValueError for NaN and infinities, which JSON does not have, and InputError for a text that ``read_json``
    would refuse to read back.
    """
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"
    parse_json(text, "a value to be written")
    return text


def write_json(path: Path, value: Any) -> None:
    """Write a value as ``json_text``. Raises what that does, and OSError as ``write_atomic`` does."""
    write_atomic(path, json_text(value))


def sync(path: Path) -> None:
    """Bring a file's content, or a folder's list of names, to disk, so that it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Bring a folder and everything under it to disk."""
    for place, _, names in os.walk(folder):
        for name in names:
            sync(Path(place, name))
        sync(Path(place))


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[int]:
    """Keep a second process out of a folder that this one writes to; two writers would ruin each other's work.

    The kernel holds the lock (``flock`` on ``folder/.lock``) and drops it when the process ends, however it ends, so
    nobody has to clean up after a kill; a process that is given the descriptor, which this yields, keeps it as long as
    it lives. Creates the folder. Raises InputError that names the holder's process id, and
    for a folder that can't be made or written to.
    """
    if _SURROGATE.search(str(folder)):
        raise InputError(f"{folder} can't be used as a folder: its name is no UTF-8; choose another one")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Append mode opens without truncating: a refused second process must not erase the holder's id.
        opened = open(folder / _LOCK_NAME, "a+", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder} can't be used as a folder: {error.strerror}; choose another one") from None
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise InputError(
                f"{folder} is in use by process {holder}; wait until it ends, stop it, or choose another folder"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        try:
            yield file.fileno()
        finally:
            file.truncate(0)
            fcntl.flock(file, fcntl.LOCK_UN)


def read_file(path: str | os.PathLike[str], limit: int | None = None) -> bytes:
    """The content of a regular file, because a pipe or a device may never end.

    Raises InputError for these, for more than ``limit`` bytes, for a text that can't be a path and for a pointer of Git
    LFS; OSError as ``open`` does.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path} is a pipe or a device, and a file is needed; check the path")
        # A pipe that took the file's place meanwhile would otherwise wait for a writer.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            content = file.read() if limit is None else file.read(limit + 1)
    except ValueError as error:
        raise InputError(f"{path} can't be a path: {error}; check it") from None
    if limit is not None and len(content) > limit:
        raise InputError(f"{path} has more than {limit:,} bytes, too many for what it is read as; check the path")
    refuse_pointer_text(path, content)
    return content


def read_json(path: Path) -> Any:
    """Read a JSON file strictly. Raises InputError with file and line where it is missing or is not plain JSON."""
    return parse_json(read_text(path, _JSON_BYTES), str(path))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON objects, one a line, strictly.

    Lines end at ``\\n`` alone (other line separators are legal inside JSON strings). Raises InputError with file and
    line for anything that is not an object, an unfinished last line included.
    """
    return list(_rows(read_text(path), path))


def readable_rows(path: Path, complain: Callable[[str], None]) -> tuple[dict[str, Any], ...]:
    """The objects of a file of JSON lines up to the first that can't be read, which is told; none without a file.

    For readers that show what there is, also of a run that is still writing.
    """
    rows: list[dict[str, Any]] = []
    try:
        for row in _rows(read_file(path).decode(errors="replace"), path):
            rows.append(row)
    except FileNotFoundError:
        pass
    except OSError as error:
        complain(f"{path} can't be read: {error.strerror}")
    except InputError as error:
        complain(f"{error}; the rows from there on are left out")
    return tuple(rows)


def _rows(text: str, path: Path) -> Iterator[dict[str, Any]]:
    *lines, unfinished = text.split("\n")
    for number, line in enumerate(lines, start=1):
        row = parse_json(line, str(path), number)
        if not isinstance(row, dict):
            raise InputError(f"{path}:{number}: expected a JSON object, found {line[:40]!r}")
        yield row
    if unfinished:
        raise InputError(
            f"{path}:{len(lines) + 1}: the last line is not finished; remove it, unless it is being written"
        )


def _refuse(reason: str) -> NoReturn:
    raise ValueError(reason)


def _no_constant(name: str) -> NoReturn:
    _refuse(f"{name} is not JSON")


def _pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(items)
    if len(record) < len(items):
        _refuse("a key occurs twice")
    return record


def _finite(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _refuse(f"{digits} is too large")


def _whole(digits: str) -> int:
    if len(digits) > _JSON_DIGITS:
        _refuse(f"a number of {len(digits)} digits is beyond the limit")
    return int(digits)


_QUICKLY = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_no_constant)
_CAREFULLY = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_float=_finite, parse_int=_whole, parse_constant=_no_constant
)
_PERHAPS_LARGE = re.compile(rf"[eE]\+?\d|\d{{{_JSON_DIGITS}}}")


def _is_plain(text: str) -> bool:
    """Whether nothing in ``text`` looks as if it were one of the values that are looked for one by one.

    That takes as long again as parsing; rows of replies hold none, and are read by the million.
    """
    return (
        "\\u" not in text
        and text.count("[") + text.count("{") <= _JSON_DEPTH
        and (text.isascii() or not _SURROGATE.search(text))
        and not _PERHAPS_LARGE.search(text)
    )


def parse_json(text: str, source: str, first_line: int = 1) -> Any:
    """Parse JSON that others may have written, and refuse what parsers disagree about.

    Refused, with InputError ``source:line``: syntax errors, NaN and infinities (spelled, or as 1e999), whole numbers
    that no float could hold, more than 100 levels, a key given twice, a NUL character, half a surrogate pair.
    """
    plain = _is_plain(text)
    try:
        value = (_QUICKLY if plain else _CAREFULLY).decode(text)
        if not plain:
            _check_values(value, 1)
    except json.JSONDecodeError as error:
        raise InputError(f"{source}:{first_line + error.lineno - 1}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}:{first_line}: not plain JSON: {error}") from None
    return value


def is_number(value: object) -> bool:
    """Whether a value read from JSON is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_values(value: Any, level: int) -> None:
    if isinstance(value, str):
        if "\0" in value or _SURROGATE.search(value):
            raise ValueError("a text holds a NUL character or half a surrogate pair")
    elif isinstance(value, dict | list):
        if level > _JSON_DEPTH:
            raise ValueError(f"it nests more than {_JSON_DEPTH} deep")
        for item in value:
            _check_values(item, level + 1)
        for item in value.values() if isinstance(value, dict) else ():
            _check_values(item, level + 1)


def read_text(path: Path, limit: int | None = None) -> str:
    """A file's text, of ``limit`` bytes at most. Raises InputError where it can't be read or is no UTF-8."""
    try:
        return read_file(path, limit).decode()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from None
