"""What an experiment file says, as records: statements and the values in them, each with its location."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from reasoning.experiment.locations import Location


@dataclass(frozen=True)
class LiteralNode:
    """A number, a text, True, False or None; or any Python object, handed over as an override."""

    value: object
    location: Location


@dataclass(frozen=True)
class PartName:
    """A bare name, which stands for another part."""

    name: str
    location: Location


@dataclass(frozen=True)
class Reference:
    """``@module.name``, without the sign."""

    text: str
    location: Location


@dataclass(frozen=True)
class ConstantRead:
    """``%name``, without the sign."""

    name: str
    location: Location


@dataclass(frozen=True)
class SequenceNode:
    """A tuple, or a list where ``listed``."""

    items: tuple["ValueNode", ...]
    listed: bool
    location: Location


@dataclass(frozen=True)
class DictNode:
    """A dict, in the order written; ``keys`` are the locations of its keys, quotes included."""

    entries: dict[str, "ValueNode"]
    location: Location
    keys: dict[str, Location] = field(default_factory=dict)


ValueNode = LiteralNode | PartName | Reference | ConstantRead | SequenceNode | DictNode


@dataclass(frozen=True)
class Include:
    """``include 'path'``."""

    path: str
    location: Location


@dataclass(frozen=True)
class Definition:
    """``name = value``; ``location`` is the name's."""

    name: str
    value: ValueNode
    location: Location


@dataclass(frozen=True)
class Binding:
    """``part.field = value``; ``location`` is the part name's, ``field_location`` the field's."""

    part: str
    field: str
    value: ValueNode
    location: Location
    field_location: Location


Change = Definition | Binding
"""What an override says: another value of a constant, or of a part's field."""

Statement = Include | Change


def read_constants(node: ValueNode) -> Iterator[str]:
    """The names of the constants that a value reads."""
    if isinstance(node, ConstantRead):
        yield node.name
    elif isinstance(node, SequenceNode):
        for item in node.items:
            yield from read_constants(item)
    elif isinstance(node, DictNode):
        for item in node.entries.values():
            yield from read_constants(item)
