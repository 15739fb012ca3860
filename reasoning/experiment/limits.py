"""How deep, long and large an experiment may be, so that no file takes endless time or memory before it is refused."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields

from reasoning.experiment.drafts import Drafts
from reasoning.experiment.locations import Location, error_at
from reasoning.experiment.nodes import ConstantRead, DictNode, LiteralNode, PartName, SequenceNode, ValueNode
from reasoning.experiment.tokens import DEPTH

_VALUES = 100_000
"""Values that all parts of an experiment may hold together, with what its constants stand for at every reading."""

_TEXT = 64
"""Characters of a text that count as one more value."""


@dataclass(frozen=True)
class _Extent:
    """How many levels a value has, and how many values it is."""

    depth: int = 1
    values: int = 1


@dataclass(frozen=True)
class _Survey:
    """The extents of constants and parts by name, and the names that led here."""

    drafts: Drafts
    known: dict[str, _Extent] = field(default_factory=dict)
    opened: set[str] = field(default_factory=set)


def check_extent(drafts: Drafts) -> None:
    """Raises InputError where values, constants or parts nest too deeply, or are too many, before any is made.

    What stands for nothing, and circles, are left to whoever builds the parts.
    """
    survey = _Survey(drafts)
    values = 0
    for name, draft in drafts.parts.items():
        _part(survey, name, draft.location, 1)
        values += len(fields(draft.target))
        values += sum(_extent(survey, binding.value, 2).values for binding in draft.bindings.values())
        if values > _VALUES:
            raise error_at(
                f"the file holds more than {_VALUES:,} values up to the part '{name}', constants read; make them fewer",
                draft.location,
            )


def _extent(survey: _Survey, node: ValueNode, level: int) -> _Extent:
    _check_level(level, node.location)
    if isinstance(node, SequenceNode):
        return _around(_extent(survey, item, level + 1) for item in node.items)
    if isinstance(node, DictNode):
        return _around(_extent(survey, item, level + 1) for item in node.entries.values())
    if isinstance(node, ConstantRead):
        return _constant(survey, node, level)
    if isinstance(node, PartName):
        return _Extent(1 + _part(survey, node.name, node.location, level))
    return _extent_of_value(node.value, node.location, level) if isinstance(node, LiteralNode) else _Extent()


def _constant(survey: _Survey, node: ConstantRead, level: int) -> _Extent:
    definition = survey.drafts.constants.get(node.name)
    key = f"%{node.name}"
    if definition is None or key in survey.opened:
        return _Extent()
    if key not in survey.known:
        survey.opened.add(key)
        inner = _extent(survey, definition.value, level + 1)
        survey.opened.remove(key)
        survey.known[key] = _Extent(inner.depth + 1, inner.values)
    _check_level(level + survey.known[key].depth - 1, node.location)
    return survey.known[key]


def _part(survey: _Survey, name: str, location: Location, level: int) -> int:
    """How many levels the part ``name`` has; its values are counted once, wherever it is named."""
    draft = survey.drafts.parts.get(name)
    if draft is None or name in survey.opened:
        return 1
    if name not in survey.known:
        survey.opened.add(name)
        inner = _around(_extent(survey, binding.value, level + 1) for binding in draft.bindings.values())
        survey.opened.remove(name)
        survey.known[name] = inner
    depth = survey.known[name].depth
    _check_level(level + depth - 1, location)
    return depth


def _extent_of_value(value: object, location: Location, level: int) -> _Extent:
    """The extent of a value from Python, whose parts are looked into no further."""
    _check_level(level, location)
    if isinstance(value, str):
        return _Extent(1, 1 + len(value) // _TEXT)
    if isinstance(value, tuple | list):
        return _around(_extent_of_value(item, location, level + 1) for item in value)
    if isinstance(value, dict):
        return _around(_extent_of_value(item, location, level + 1) for item in value.values())
    return _Extent()


def _around(inner: Iterable[_Extent]) -> _Extent:
    depth = values = 0
    for each in inner:
        depth, values = max(depth, each.depth), values + each.values
    return _Extent(depth + 1, values + 1)


def _check_level(level: int, location: Location) -> None:
    if level > DEPTH:
        raise error_at(f"values, constants and parts nest more than {DEPTH} deep here; make them flatter", location)
