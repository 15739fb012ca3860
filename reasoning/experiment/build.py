"""Builds the parts of an experiment file: every field bound, defaulted, or refused at its location."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any

from reasoning.core.errors import InputError
from reasoning.core.user_code import answering_for_users
from reasoning.experiment.drafts import Draft, Drafts
from reasoning.experiment.limits import check_extent
from reasoning.experiment.locations import Location, error_at, quoted, suggestion
from reasoning.experiment.nodes import (
    Binding,
    ConstantRead,
    DictNode,
    LiteralNode,
    PartName,
    Reference,
    SequenceNode,
    ValueNode,
)
from reasoning.experiment.types import Mismatch, coerce, default_of, hints_of, type_name


@dataclass(frozen=True)
class _Build:
    """What is finished (``objects``) and what is under way: the parts, and the constants, that led here."""

    drafts: Drafts
    objects: dict[str, Any] = field(default_factory=dict)
    open_parts: dict[str, Location] = field(default_factory=dict)
    open_constants: list[str] = field(default_factory=list)


def build_parts(drafts: Drafts) -> dict[str, Any]:
    """Every part as an object of its dataclass, by name in the order of definition; one name is one object.

    Raises InputError for values of a wrong type or out of range, missing fields, names that stand for nothing, parts
    or constants that need each other in a circle, what is too deep or too much, and whatever a dataclass refuses when
    it is made.
    """
    check_extent(drafts)
    state = _Build(drafts)
    return {name: _part(state, name, drafts.parts[name].location) for name in drafts.parts}


def _part(state: _Build, name: str, location: Location) -> Any:
    """The object of part ``name``, which the word at ``location`` asks for."""
    if name in state.objects:
        return state.objects[name]
    if name in state.open_parts:
        circle = [*state.open_parts][[*state.open_parts].index(name) :]
        locations = [state.open_parts[inner] for inner in circle[1:]] + [location]
        raise error_at(f"parts need each other in a circle: {' → '.join([*circle, name])}; break it", *locations)
    state.open_parts[name] = location
    draft = state.drafts.parts[name]
    values = _settings(state, draft)
    try:
        with answering_for_users():
            state.objects[name] = draft.target(**values)
    except InputError as error:
        raise error_at(f"{name}: {error}", draft.location) from error
    except Exception as error:
        error.add_note(f"while making the part '{name}' ({type_name(draft.target)}) of {draft.location.label}")
        raise
    del state.open_parts[name]
    return state.objects[name]


def _settings(state: _Build, draft: Draft) -> dict[str, Any]:
    try:
        hints = hints_of(draft.target)
    except InputError as error:
        raise error_at(f"{draft.name}: {error}", draft.location) from error
    values: dict[str, Any] = {}
    missing: list[str] = []
    for setting in fields(draft.target):
        if not setting.init:
            continue
        value = _setting(state, draft, setting.name, hints[setting.name])
        if value is MISSING:
            missing.append(setting.name)
        else:
            values[setting.name] = value
    if missing:
        needs = ", ".join(f"'{name}'" for name in missing)
        raise error_at(
            f"the part '{draft.name}' ({type_name(draft.target)}) needs {needs}; add {draft.name}.{missing[0]} = …",
            draft.location,
        )
    return values


def _setting(state: _Build, draft: Draft, name: str, hint: Any) -> Any:
    binding = draft.bindings.get(name)
    if binding is not None:
        return _bound(state, draft, binding, hint)
    if name == "name" and hint is str:
        return draft.name
    try:
        return default_of(draft.target, name, hint)
    except InputError as error:
        raise error_at(f"{draft.name}: {error}", draft.location) from error


def _bound(state: _Build, draft: Draft, binding: Binding, hint: Any) -> Any:
    value = _evaluate(state, binding.value)
    try:
        return coerce(value, hint)
    except Mismatch as error:
        locations = _blamed(state.drafts.constants, binding.value, error.path)
        raise error_at(f"{draft.name}.{binding.field}{error}", *locations) from error


def _blamed(constants: Mapping[str, Any], node: ValueNode, path: tuple[int | str, ...]) -> list[Location]:
    """The locations of the item that ``path`` leads to; where a constant stands between, also the reading of it."""
    if isinstance(node, ConstantRead):
        return [node.location, *_blamed(constants, constants[node.name].value, path)]
    if path and isinstance(node, SequenceNode) and isinstance(path[0], int):
        return _blamed(constants, node.items[path[0]], path[1:])
    if path and isinstance(node, DictNode) and isinstance(path[0], str):
        return _blamed(constants, node.entries[path[0]], path[1:])
    return [node.location]


def _evaluate(state: _Build, node: ValueNode) -> Any:
    if isinstance(node, LiteralNode):
        return node.value
    if isinstance(node, SequenceNode):
        items = [_evaluate(state, item) for item in node.items]
        return items if node.listed else tuple(items)
    if isinstance(node, DictNode):
        return {key: _evaluate(state, item) for key, item in node.entries.items()}
    if isinstance(node, ConstantRead):
        return _constant(state, node)
    if isinstance(node, Reference):
        return _reference(state, node)
    return _named_part(state, node)


def _constant(state: _Build, node: ConstantRead) -> Any:
    constants = state.drafts.constants
    if node.name in state.open_constants:
        circle = state.open_constants[state.open_constants.index(node.name) :]
        locations = [constants[name].location for name in circle]
        raise error_at(
            f"constants need each other in a circle: {' → '.join([*circle, node.name])}; break it", *locations
        )
    if node.name in state.drafts.parts:
        raise error_at(f"'{node.name}' is a part; its name is written without %", node.location)
    if node.name not in constants:
        raise error_at(f"there is no constant {quoted(node.name)}{suggestion(node.name, constants)}", node.location)
    state.open_constants.append(node.name)
    value = _evaluate(state, constants[node.name].value)
    state.open_constants.pop()
    return value


def _reference(state: _Build, node: Reference) -> Any:
    value = state.drafts.references.find(node.text, node.location)
    if isinstance(value, type) and is_dataclass(value):
        raise error_at(
            f"@{node.text} is a dataclass; define a part, name = @{node.text}, and write its name here", node.location
        )
    return value


def _named_part(state: _Build, node: PartName) -> Any:
    name, parts = node.name, state.drafts.parts
    if name in parts:
        return _part(state, name, node.location)
    if name in state.drafts.constants:
        raise error_at(f"'{name}' is a constant; write %{name}", node.location)
    part, _, inner = name.partition(".")
    if inner and part in parts:
        raise error_at(f"'{name}' is a field; a value that two fields share goes through a constant", node.location)
    words = [word for word in ("True", "False", "None") if word.lower() == name.lower()]
    near = suggestion(name, words or parts)
    quotes = f"\"…='{name}'\"" if node.location.label == "command line" else f"'{name}'"
    raise error_at(f"there is no part {quoted(name)} (a text needs quotes: {quotes}){near}", node.location)
