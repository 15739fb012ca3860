"""What devices exchange in a compiled program, read from its text."""

import re

from reasoning.planning.hlo import Module
from reasoning.planning.shapes import Shape

COLLECTIVES = tuple(
    "all-gather all-reduce reduce-scatter all-to-all ragged-all-to-all collective-permute collective-broadcast".split()
)

_CHANNEL = re.compile(r"\bchannel_id=(\d+)")

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


def repeated(module: Module) -> frozenset[tuple[str, str]]:
    """Collectives that are written down once more, by computation and name.

    One that products go on beside stands in the fusion that begins it, in those that it goes on beside, and in the one
    that ends it: one channel for all.
    """
    every = [one for computation in module.computations.values() for one in computation.instructions.values()]
    fused = {name for one in every if one.opcode == "fusion" for name in one.called("calls")}
    seen, again = set[str](), set[tuple[str, str]]()
    for name in (name for name in module.computations if name in fused):
        for one in module.computations[name].instructions.values():
            channel = _CHANNEL.search(one.attributes)
            if channel and one.opcode.removesuffix("-start") in COLLECTIVES:
                if channel[1] in seen:
                    again.add((name, one.name))
                seen.add(channel[1])
    return frozenset(again)
