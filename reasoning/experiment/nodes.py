"""What an experiment file says, as records: statements and the values in them, each with its place."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from reasoning.experiment.places import Place


@dataclass(frozen=True)
class Literal:
    """A number, a text, True, False or None."""

    value: bool | int | float | str | None
    place: Place


@dataclass(frozen=True)
class PartName:
    """A bare name, which stands for another part."""

    name: str
    place: Place


@dataclass(frozen=True)
class Reference:
    """``@module.name``, without the sign."""

    text: str
    place: Place


@dataclass(frozen=True)
class ConstantRead:
    """``%name``, without the sign."""

    name: str
    place: Place


@dataclass(frozen=True)
class Group:
    """A tuple, or a list where ``listed``."""

    items: tuple["Node", ...]
    listed: bool
    place: Place


@dataclass(frozen=True)
class Table:
    """A dict, in the order written; ``keys`` are the places of its keys, quotes included."""

    entries: dict[str, "Node"]
    place: Place
    keys: dict[str, Place] = field(default_factory=dict)


@dataclass(frozen=True)
class Given:
    """A Python object handed over as an override."""

    value: object
    place: Place


Node = Literal | PartName | Reference | ConstantRead | Group | Table | Given


@dataclass(frozen=True)
class Include:
    """``include 'path'``."""

    path: str
    place: Place


@dataclass(frozen=True)
class Definition:
    """``name = value``; ``place`` is the name's."""

    name: str
    value: Node
    place: Place


@dataclass(frozen=True)
class Binding:
    """``part.field = value``; ``place`` is the part name's, ``field_place`` the field's."""

    part: str
    field: str
    value: Node
    place: Place
    field_place: Place


Change = Definition | Binding
"""What an override says: another value of a constant, or of a part's field."""

Statement = Include | Change


def read_constants(node: Node) -> Iterator[str]:
    """The names of the constants that a value reads."""
    if isinstance(node, ConstantRead):
        yield node.name
    elif isinstance(node, Group):
        for item in node.items:
            yield from read_constants(item)
    elif isinstance(node, Table):
        for item in node.entries.values():
            yield from read_constants(item)
