"""Files that no reader of data may choke on: what lies in them, and what must be said of it."""

import bz2
import gzip
import io
import json
import lzma
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

TOO_LONG = 50 << 20


@dataclass(frozen=True)
class Hostile:
    """A file, or whatever else ``make`` puts at a path, and a pattern of the one line that must be said of it."""

    title: str
    make: Callable[[Path], object]
    said: str
    name: str = "data.jsonl"


def holding(content: bytes) -> Callable[[Path], object]:
    """Writes these bytes."""
    return lambda path: path.write_bytes(content)


BAD_LINES = {
    "binary": (b"\x93\x00\x1a\xff\xfe\x80", "not UTF-8 text"),
    "a raw NUL": (b'{"text": "a\0b"}', "a NUL character"),
    "an escaped NUL": (b'{"text": "a\\u0000b"}', "a NUL character or half a surrogate"),
    "latin-1": ('{"text": "café"}'.encode("latin-1"), "not UTF-8 text"),
    "overlong UTF-8": (b'{"text": "\xc0\xaf"}', "not UTF-8 text"),
    "a surrogate in UTF-8": (b'{"text": "\xed\xa0\x80"}', "not UTF-8 text"),
    "deep lists": (b"[" * 100_000, "not plain JSON"),
    "deep objects": (b'{"a":' * 200 + b"1" + b"}" * 200, "nests more than 100 deep"),
    "a key twice": (b'{"text": "a", "text": "b"}', "a key occurs twice"),
    "a key twice inside": (b'{"text": "a", "m": {"k": 1, "k": 1}}', "a key occurs twice"),
    "NaN": (b'{"text": "a", "n": NaN}', "NaN is not JSON"),
    "infinity": (b'{"text": "a", "n": -Infinity}', "-Infinity is not JSON"),
    "1e999": (b'{"text": "a", "n": 1e999}', "1e999 is too large"),
    "a huge whole number": (b'{"text": "a", "n": 1' + b"0" * 5000 + b"}", "a number of 5001 digits"),
    "half a surrogate pair": (b'{"text": "\\ud83d"}', "half a surrogate pair"),
    "a list": (b'["text"]', "expected a JSON object, got list; of a list, write each object on a line"),
    "a number": (b"3", "expected a JSON object, got int"),
    "null": (b"null", "expected a JSON object, got NoneType"),
    "a text": (b'"text"', "expected a JSON object, got str"),
    "an object cut short": (b'{"text": "a', "not JSON: Unterminated string"),
    "two objects": (b'{"text": "a"} {"text": "b"}', "not JSON: Extra data"),
    "a record of Python": (b"{'text': 'a', 'b': None}", "not JSON"),
    "a comma too many": (b'{"text": "a",}', "not JSON"),
    "a control character": (b'{"text": "a\tb"}', "not JSON: Invalid control character"),
    "plain prose": (b"Once upon a time", "not JSON"),
    "no columns": (b"{}", "columns found: none|column 'question' is None"),
}
"""Lines that no reader of JSON lines can use, whatever it wants of them."""


def _in_utf16(path: Path) -> None:
    path.write_text('{"text": "a"}\n', "utf-16")


def _long_line(path: Path) -> None:
    with open(path, "wb") as file:
        file.write(b'{"question": "1?", "answer": "#### 1"}\n')
        file.truncate(TOO_LONG)


def parquet(table: dict[str, object]) -> bytes:
    """A table as the bytes of a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(pa.table(table), sink)
    return sink.getvalue()


FILES = (
    Hostile("missing", lambda path: None, "no file|there is no file"),
    Hostile("empty", holding(b""), "has no documents|only 0 distinct"),
    Hostile("blank lines alone", holding(b"\n \r\n\t\n\n"), "has no documents|only 0 distinct"),
    Hostile("a mark alone", holding(b"\xef\xbb\xbf"), "has no documents|only 0 distinct"),
    Hostile("gzip without its name", holding(gzip.compress(b'{"text": "a"}\n')), "compressed by gzip; unpack it"),
    Hostile("zstd without its name", holding(b"\x28\xb5\x2f\xfd\x24\x00\x01\x00\x00"), "compressed by zstd"),
    Hostile("bzip2", holding(bz2.compress(b"x")), "compressed by bzip2"),
    Hostile("xz", holding(lzma.compress(b"x")), "compressed by xz"),
    Hostile("zip", holding(b"PK\x03\x04\x14\x00"), "a zip archive"),
    Hostile("parquet", holding(parquet({"text": ["a"]})), "a Parquet file; read it as one"),
    Hostile("UTF-16", _in_utf16, "text in UTF-16; write it as UTF-8"),
    Hostile("UTF-16 without a mark", holding('{"text": "a"}\n'.encode("utf-16-le")), r":1: a NUL character"),
    Hostile("a folder", lambda path: path.mkdir(), "is a folder, and a file is needed"),
    Hostile("a pipe", lambda path: os.mkfifo(path), "is a pipe or a device, and a file is needed"),
    Hostile("a link to nowhere", lambda path: path.symlink_to("absent"), "no file|there is no file"),
    Hostile("a pointer", holding(b"version https://git-lfs.github.com/spec/v1\noid"), "a pointer of Git LFS"),
    Hostile("one JSON list", holding(b'[\n{"text": "a"},\n{"text": "b"}\n]\n'), ":1: .*write each object on a line"),
    Hostile("one JSON object", holding(json.dumps({"text": "a"}, indent=1).encode()), ":1: not JSON"),
    Hostile("a line of 50 MB", _long_line, ":2: a line of more than 16,777,216 bytes; is it one row a line?"),
    Hostile("a table of commas", holding(b"text,id\na,1\n"), ":1: not JSON"),
)
"""What may lie in the place of a file of JSON lines, for every reader of them."""

_LINES = b'{"question": "1?", "answer": "#### 1"}\n' * 400


def zstandard(content: bytes) -> bytes:
    """Bytes compressed by zstd."""
    return pa.compress(content, "zstd", asbytes=True)


def _long_compressed_line(path: Path) -> None:
    with gzip.open(path, "wb", 1) as file:
        file.write(b'{"question": "1?", "answer": "#### 1"}\n')
        for _ in range(TOO_LONG >> 20):
            file.write(b"a" * (1 << 20))


DAMAGED = gzip.compress(_LINES)
COMPRESSED = (
    Hostile("gzip cut short", holding(DAMAGED[:-20]), r":\d+: the compressed file can't be read on", "a.jsonl.gz"),
    Hostile("gzip without its sum", holding(DAMAGED[:-8]), r":401: the compressed file can't be read on", "a.jsonl.gz"),
    Hostile("gzip with a wrong sum", holding(DAMAGED[:-8] + b"\0" * 8), r"can't be read on: CRC check", "a.jsonl.gz"),
    Hostile("gzip's head alone", holding(DAMAGED[:5]), ":1: the compressed file can't be read on", "a.jsonl.gz"),
    Hostile(
        "text named as gzip", holding(_LINES), ":1: the compressed file can't be read on: Not a gzip", "a.jsonl.gz"
    ),
    Hostile("junk after gzip", holding(DAMAGED + b"junk"), r":401: .*can't be read on: Not a gzip", "a.jsonl.gz"),
    Hostile("nothing in gzip", holding(gzip.compress(b"")), "has no documents|only 0 distinct", "a.jsonl.gz"),
    Hostile("binary in gzip", holding(gzip.compress(b"\xff\xfe\n")), ":1: not UTF-8 text", "a.jsonl.gz"),
    Hostile("gzip in gzip", holding(gzip.compress(DAMAGED)), ":1: not UTF-8 text", "a.jsonl.gz"),
    Hostile("50 MB on a line of gzip", _long_compressed_line, ":2: a line of more than 16,777,216 bytes", "a.jsonl.gz"),
    Hostile("a folder named as gzip", lambda path: path.mkdir(), "is a folder, and a file is needed", "a.jsonl.gz"),
    Hostile("a pipe named as gzip", lambda path: os.mkfifo(path), "is a pipe or a device", "a.jsonl.gz"),
    Hostile("zstd cut short", holding(zstandard(_LINES)[:-9]), "can't be read on", "a.jsonl.zst"),
    Hostile("text named as zstd", holding(_LINES), ":1: the compressed file can't be read on", "a.jsonl.zst"),
    Hostile("gzip named as zstd", holding(DAMAGED), ":1: the compressed file can't be read on", "a.jsonl.zst"),
    Hostile("zstd named as gzip", holding(zstandard(_LINES)), ":1: .*can't be read on: Not a gzip", "a.jsonl.gz"),
)
"""Compressed files of JSON lines."""

_ASKED = {"role": "user", "content": "1?"}


def _said(**message: object) -> list[dict[str, object]]:
    return [_ASKED, {"role": "assistant", "content": "2", **message}]


BAD_CONVERSATIONS = {
    "null": (None, "expected a text, got None"),
    "a number": (3, "expected a text or a list of messages"),
    "a record": ({"role": "user"}, "expected a text or a list of messages"),
    "texts": (["1?", "2"], "expected a text or a list of messages"),
    "nulls": ([None, None], "expected a text or a list of messages"),
    "JSON in a text": (json.dumps(_said()), "a list of messages written as a text"),
    "empty": ([], "a conversation of 0 messages has no assistant's turn"),
    "no reply": ([_ASKED], "no assistant's turn"),
    "an unknown role": ([{"role": "narrator", "content": "x"}, *_said()], "message 0: the role 'narrator' is unknown"),
    "a role that is a number": (_said(role=1), "message 1: expected a text, got 1"),
    "a role that is null": (_said(role=None), "message 1: it must have role and content"),
    "no role": (
        [{"content": "x"}],
        "message 0: it must have role and content, or from and value; its keys are content",
    ),
    "both forms": (_said(**{"from": "gpt"}), "its keys are role, content, from"),
    "content null": (_said(content=None), "message 1: expected a text, got None"),
    "content a number": (_said(content=2), "message 1: expected a text, got 2"),
    "content a record": (_said(content={"a": 1}), "message 1: expected a text, got {'a': 1}"),
    "content of parts": (_said(content=[{"type": "text", "text": "x"}]), "content is a list of 1 parts"),
    "the format's symbols": (_said(content="<|end|>"), r"the text holds <\|end\|>"),
    "more than all weight": (_said(weight=1.5), "weight is 1.5"),
    "train in words": (_said(train="false"), "train is 'false'"),
    "nothing learnt": (_said(train=False), "none of the assistant's turns"),
    "hidden reasoning": (_said(reasoning_content="so"), "reasoning_content is 'so', which isn't learnt from"),
    "calls where none are written": (
        _said(tool_calls=[{"function": {"name": "f", "arguments": {}}}]),
        "this chat format writes no tools",
    ),
    "a tool's answer where none is written": ([*_said(), {"role": "tool", "content": "x"}], "writes no tools"),
    "calls that are a text": (_said(tool_calls="f()"), "tool_calls must be a list of calls"),
    "calls without a name": (_said(tool_calls=[{"function": {"arguments": {}}}]), "a call needs a function"),
    "ShareGPT without a value": ([{"from": "human"}], "message 0: expected a text, got None"),
    "an unknown speaker": ([{"from": "bing", "value": "x"}], "the from 'bing' is unknown"),
}
"""Values of the column of messages."""

BAD_PARQUET = (
    Hostile("missing", lambda path: None, "no file"),
    Hostile("empty", holding(b""), "no readable Parquet file"),
    Hostile("text", holding(b'{"text": "a"}\n'), "no readable Parquet file"),
    Hostile("the marks alone", holding(b"PAR1PAR1"), "no readable Parquet file"),
    Hostile("cut short", holding(parquet({"text": ["a" * 99]})[:-9]), "no readable Parquet file"),
    Hostile("cut at its front", holding(parquet({"text": ["a" * 99]})[40:]), "no readable Parquet file"),
    Hostile("gzip", holding(gzip.compress(parquet({"text": ["a"]}))), "no readable Parquet file"),
    Hostile(
        "another schema", holding(parquet({"body": ["a"], "id": [1]})), "columns found: body, id; none of the known"
    ),
    Hostile("two layouts", holding(parquet({"text": ["a"], "messages": ["b"]})), "several layouts fit"),
    Hostile("no rows", holding(parquet({"text": pa.array([], pa.string())})), "has no documents"),
    Hostile("no columns", holding(parquet({})), "columns found: none"),
    Hostile(
        "a null", holding(parquet({"text": ["a", None, "b"]})), "row 1 of the source, text: expected a text, got None"
    ),
    Hostile(
        "nulls alone", holding(parquet({"text": pa.nulls(1)})), "row 0 of the source, text: expected a text, got None"
    ),
    Hostile("numbers", holding(parquet({"text": [1, 2]})), "row 0 of the source, text: expected a text or a list"),
    Hostile("no UTF-8", holding(parquet({"text": [b"\xff"]})), "row 0 of the source, text: not UTF-8"),
    Hostile("a NUL", holding(parquet({"text": ["a", "b\0"]})), "row 1 of the source, text: the text holds a NUL"),
    Hostile(
        "messages of numbers",
        holding(parquet({"messages": [[1]]})),
        "row 0 of the source, messages: expected a text or",
    ),
    Hostile(
        "messages of other fields",
        holding(parquet({"messages": [[{"who": "user", "what": "x"}]]})),
        "row 0 of the source, messages, message 0: it must have role and content.*; its keys are who, what",
    ),
    Hostile("a folder", lambda path: path.mkdir(), "is a folder, and a file is needed"),
    Hostile("a pipe", lambda path: os.mkfifo(path), "is a pipe or a device"),
    Hostile("a pointer", holding(b"version https://git-lfs.github.com/spec/v1\noid"), "a pointer of Git LFS"),
)
"""What may lie in the place of a Parquet file."""

BAD_TEXTS = (
    Hostile("binary", holding(b"\x00\xff\xfe"), "a.txt, text: not UTF-8", "a.txt"),
    Hostile("UTF-16", lambda path: path.write_text("abc", "utf-16"), "a.txt, text: not UTF-8", "a.txt"),
    Hostile("latin-1", holding("café".encode("latin-1")), r"a.txt, text: not UTF-8 text \(byte 3\)", "a.txt"),
    Hostile("a NUL", holding(b"a\0b"), "a.txt, text: the text holds a NUL character", "a.txt"),
    Hostile("the format's symbols", holding(b"a<|user|>"), r"a.txt, text: the text holds <\|user\|>", "a.txt"),
    Hostile("a folder", lambda path: path.mkdir(), "a.txt can't be read: Is a directory", "a.txt"),
    Hostile("a pipe", lambda path: os.mkfifo(path), "a.txt is a pipe or a device", "a.txt"),
    Hostile("a pointer", holding(b"version https://git-lfs.github.com/spec/v1\noid"), "a pointer of Git LFS", "a.txt"),
)
"""What may lie in the place of a text in a folder."""
