"""Reads the text of a compiled program: its computations, their instructions, and the arrays that these make."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$")
_END = re.compile(r'^\}(, execution_thread="\w+")?$')
_START = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = ")
_OPCODE = re.compile(r"\s*([\w\-]+)\(")
_ARRAY = re.compile(r"\b([a-z]+\d*[a-z0-9]*)\[((?:<=)?\d+(?:,(?:<=)?\d+)*|)\](?:\{([^{}]*)\})?")
_SPACE = re.compile(r"S\((\d+)\)")
_NAME = re.compile(r"%([\w.\-]+(?:#\d+)?)")
_BITS = re.compile(r"\D*(\d+)")


@dataclass(frozen=True)
class HloArray:
    """One array: its type, its sizes, and the memory that it lies in (0: HBM, 1: the chip's own, 5: the host's)."""

    dtype: str
    shape: tuple[int, ...]
    space: int = 0

    @property
    def bytes(self) -> float:
        """Its size, whatever the layout adds."""
        return prod(self.shape) * _element_bytes(self.dtype)


def _element_bytes(dtype: str) -> float:
    if dtype in ("token", "opaque"):
        return 0
    if dtype == "pred" or dtype.startswith("f8"):
        return 1
    bits = _BITS.match(dtype)
    return int(bits[1]) / 8 if bits else 0


@dataclass(frozen=True)
class Instruction:
    """One line of a computation: ``name = result opcode(operands), attributes``.

    ``result`` are all arrays of it; ``elements`` say how many of them each element of a tuple has. An operand that is
    one element of a tuple may be written so: ``loop#2``.
    """

    name: str
    result: tuple[HloArray, ...]
    elements: tuple[int, ...]
    opcode: str
    operands: tuple[str, ...]
    inside: str
    attributes: str

    @property
    def scope(self) -> str:
        """The names under which it was traced, outermost first; empty where the compiler made it."""
        found = re.search(r'op_name="([^"]*)"', self.attributes)
        return found[1] if found else ""

    def called(self, word: str) -> tuple[str, ...]:
        """The computations that an attribute names: one, or several in braces."""
        found = re.search(rf"\b{word}=(?:%([\w.\-]+)|\{{([^}}]*)\}})", self.attributes)
        if found is None:
            return ()
        return (found[1],) if found[1] else tuple(_NAME.findall(found[2]))


@dataclass(frozen=True)
class Computation:
    """Instructions by name, in order; the last one that is marked so, or the last, is its root."""

    instructions: Mapping[str, Instruction]
    root: Instruction

    @cached_property
    def users(self) -> Mapping[str, tuple[Instruction, ...]]:
        """Who reads each instruction's result."""
        users: dict[str, tuple[Instruction, ...]] = {}
        for instruction in self.instructions.values():
            for operand in (name.partition("#")[0] for name in instruction.operands):
                users[operand] = (*users.get(operand, ()), instruction)
        return users

    def parameter(self, number: int) -> Instruction | None:
        """The instruction that stands for an argument."""
        wanted = str(number)
        found = (one for one in self.instructions.values() if one.opcode == "parameter" and one.inside == wanted)
        return next(found, None)

    def maker(self, operand: str) -> Instruction | None:
        """The instruction that makes an operand, or the tuple that it is an element of."""
        return self.instructions.get(operand.partition("#")[0])

    def arrays(self, operand: str) -> tuple[HloArray, ...]:
        """What an operand is."""
        one, number = self.maker(operand), operand.partition("#")[2]
        if one is None or not number:
            return () if one is None else one.result
        begin = sum(one.elements[: int(number)])
        return one.result[begin : begin + one.elements[int(number)]]


@dataclass(frozen=True)
class Module:
    """A compiled program's computations by name, and the one that it begins with."""

    computations: Mapping[str, Computation]
    entry: str


def read_module(text: str) -> Module:
    """The program whose ``compiled.as_text()`` this is."""
    computations: dict[str, Computation] = {}
    entry, name = "", ""
    lines: dict[str, Instruction] = {}
    root: Instruction | None = None
    for line in _whole_lines(text):
        header = _HEADER.match(line)
        if header:
            name, lines, root = header[2], {}, None
            entry = name if header[1] else entry
        elif _END.match(line) and lines:
            computations[name] = Computation(lines, root or list(lines.values())[-1])
            lines = {}
        elif name and (start := _START.match(line)):
            instruction = _instruction(start[2], line[start.end() :])
            if instruction is not None:
                lines[instruction.name] = instruction
                root = instruction if start[1] else root
    return Module(computations, entry)


def _whole_lines(text: str) -> Iterator[str]:
    """Lines of which none breaks off: what a kernel says of itself may stand on several."""
    waiting: list[str] = []
    for line in text.splitlines():
        if _END.match(line) or _HEADER.match(line) or _START.match(line):
            if waiting:
                yield " ".join(waiting)
            waiting = []
        if line:
            waiting.append(line)
    yield " ".join(waiting)


def _instruction(name: str, text: str) -> Instruction | None:
    end = _closing(text, 0) + 1 if text.startswith("(") else text.find(" ")
    opcode = _OPCODE.match(text, end)
    if opcode is None:
        return None
    closing = _closing(text, opcode.end() - 1)
    inside = text[opcode.end() : closing]
    elements = [tuple(arrays_in(part)) for part in _elements(text[:end])]
    return Instruction(
        name,
        tuple(array for element in elements for array in element),
        tuple(map(len, elements)),
        opcode[1],
        tuple(_NAME.findall(inside)),
        inside,
        text[closing + 1 :],
    )


def _elements(text: str) -> Iterator[str]:
    """A type, or the types that a tuple has."""
    if not text.startswith("("):
        yield text
        return
    depth, begin = 0, 1
    for place, letter in enumerate(text):
        depth += {"(": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}.get(letter, 0)
        if depth == 0 or (depth == 1 and letter == ","):
            yield text[begin:place]
            begin = place + 1


def _closing(text: str, opening: int) -> int:
    """Where the parenthesis that opens at a place is closed."""
    depth = 0
    for place in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place
    return len(text) - 1


def arrays_in(text: str) -> Iterator[HloArray]:
    """The arrays that a type names, those of a tuple one by one."""
    for dtype, sizes, layout in _ARRAY.findall(text):
        shape = tuple(int(size.removeprefix("<=")) for size in sizes.split(",")) if sizes else ()
        space = _SPACE.search(layout)
        yield HloArray(dtype, shape, int(space[1]) if space else 0)
