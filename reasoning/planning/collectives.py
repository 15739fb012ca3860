"""What devices exchange in a compiled program, read from its text."""

import re

from reasoning.planning.shapes import Shape

_SHAPE = re.compile(r"\b[a-z]+\d*[a-z0-9]*\[(\d+(?:,\d+)*)\]")


def collective_shapes(text: str, kind: str) -> list[Shape]:
    """The arrays, by their shapes on one device, that all collectives of a ``kind`` ('all-gather', …) result in.

    ``text`` is that of ``compiled.as_text()``. A collective in a loop's body counts once. One that starts and ends in
    two instructions may list its operands too; scalars are left out.
    """
    instruction = re.compile(rf"^\s*(?:ROOT\s+)?%?[\w.\-]+ = (.*?) {re.escape(kind)}(?:-start)?\(", re.MULTILINE)
    return [
        tuple(int(size) for size in sizes.split(","))
        for match in instruction.finditer(text)
        for sizes in _SHAPE.findall(match[1])
    ]
