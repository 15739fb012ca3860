"""Small damage to small files, drawn from a seed: bytes that are flipped, cut, repeated, and values of other kinds."""

import json
from random import Random
from typing import Any

DEEP: list[Any] = []
for _ in range(300):
    DEEP = [DEEP]

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**15, 10**400, 0.5, -1e308, "", "x", "..", "/dev/zero", "a\0b"),
    *("\x1b[31m\x9b2J\u202e", "\ud800", "x" * 100_000, [], [None], [[]], {}, {"": 0}, {"@": 5}, {"@": "os.system"}),
    *({"@": "stages.GRPO"}, DEEP),
)
"""What a field may hold that nobody wrote."""

WORDS = (
    *(
        b"\0",
        b"\r",
        b"\x1b]0;owned\x07",
        b"\x9b",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\xe2\x80\xae",
        b"(",
        b"[" * 200,
        b"{",
        b"}",
    ),
    *(b"'", b'"', b"%", b"@", b"@os.system", b"@core.files", b"=", b",", b"#", b"\n", b"\\", b"-", b"1e999", b"NaN"),
    *(b"9" * 5000, b"0x" + b"f" * 400, b"%a", b"None", b"include '/dev/zero'\n", b"include '.'\n", b"1000000000000000"),
    *(b"{", b"}", b"-1", b"...", b"\xf0\x9f\xa6\x80"),
)
"""What a text may hold that nobody wrote."""


def damaged_bytes(random: Random, data: bytes) -> bytes:
    """The data after one to three small changes."""
    for _ in range(random.randint(1, 3)):
        start, other = random.randrange(len(data) + 1), random.randrange(len(data) + 1)
        end = min(len(data), start + random.choice((1, 1, 4, 30, 300)))
        data = _changed(random, data, start, end, other)
    return data


def _changed(random: Random, data: bytes, start: int, end: int, other: int) -> bytes:
    word = random.choice(WORDS)
    flipped = bytes(byte ^ (1 << random.randrange(8)) for byte in data[start:end])
    return random.choice(
        (
            data[:start] + flipped + data[end:],
            data[:start] + data[end:],
            data[:start],
            data[:other] + data[start:end] + data[other:],
            data[:start] + word + data[start:],
            data[:start] + word + data[end:],
        )
    )


def damaged_value(random: Random, value: Any) -> Any:
    """The JSON value with one of the values in it replaced, taken out, or joined by one that nobody knows."""
    inner = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    if not inner or random.random() < 0.12:
        return random.choice(VALUES)
    changed, place = value.copy(), random.choice(inner)
    change = random.random()
    if change < 0.1:
        del changed[place]
    elif change < 0.2 and isinstance(changed, dict):
        changed[random.choice(("unknown", "", "@", "step", "\x1b[2J"))] = random.choice(VALUES)
    else:
        changed[place] = damaged_value(random, changed[place])
    return changed


def damaged_json(random: Random, data: bytes) -> bytes:
    """A JSON file, or one of JSON lines, with a value or a byte of it changed."""
    if random.random() < 0.3:
        return damaged_bytes(random, data)
    lines = data.decode().splitlines()
    if len(lines) > 1 and lines[0].endswith("}"):
        place = random.randrange(len(lines))
        lines[place] = _written(damaged_value(random, json.loads(lines[place])))
        return ("\n".join(lines) + "\n").encode()
    return _written(damaged_value(random, json.loads(data))).encode()


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True)
