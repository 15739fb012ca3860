"""Builds the parts of an experiment file: every field bound, defaulted or refused with the place that is to blame."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any

from reasoning.core.errors import InputError
from reasoning.experiment.drafts import Draft, Drafts
from reasoning.experiment.nodes import (
    Binding,
    ConstantRead,
    Given,
    Group,
    Literal,
    Node,
    PartName,
    Reference,
    Table,
)
from reasoning.experiment.places import Place, located, suggestion
from reasoning.experiment.types import Mismatch, convert, default_of, hints_of, spelled, type_name


@dataclass(frozen=True)
class _Build:
    """What is finished (``objects``) and what is under way: the parts, and the constants, that led here."""

    drafts: Drafts
    objects: dict[str, Any] = field(default_factory=dict)
    open_parts: dict[str, Place] = field(default_factory=dict)
    open_constants: list[str] = field(default_factory=list)


def build(drafts: Drafts) -> dict[str, Any]:
    """Every part as an object of its dataclass, by name in the order of definition; one name is one object.

    Raises InputError for values of a wrong type or out of range, missing fields, names that stand for nothing, parts
    or constants that need each other in a circle, and whatever a dataclass refuses when it is made.
    """
    state = _Build(drafts)
    return {name: _part(state, name, drafts.parts[name].place) for name in drafts.parts}


def _part(state: _Build, name: str, place: Place) -> Any:
    """The object of part ``name``, which the word at ``place`` asks for."""
    if name in state.objects:
        return state.objects[name]
    if name in state.open_parts:
        circle = [*state.open_parts][[*state.open_parts].index(name) :]
        places = [state.open_parts[inner] for inner in circle[1:]] + [place]
        raise located(f"parts need each other in a circle: {' → '.join([*circle, name])}; break it", *places)
    state.open_parts[name] = place
    draft = state.drafts.parts[name]
    values = _settings(state, draft)
    try:
        state.objects[name] = draft.target(**values)
    except InputError as error:
        raise located(f"{name}: {error}", draft.place) from error
    except Exception as error:
        error.add_note(f"while making the part '{name}' ({type_name(draft.target)}) of {draft.place.label}")
        raise
    del state.open_parts[name]
    return state.objects[name]


def _settings(state: _Build, draft: Draft) -> dict[str, Any]:
    try:
        hints = hints_of(draft.target)
    except InputError as error:
        raise located(f"{draft.name}: {error}", draft.place) from error
    values: dict[str, Any] = {}
    missing: list[str] = []
    for found in fields(draft.target):
        if not found.init:
            continue
        value = _setting(state, draft, found.name, hints[found.name])
        if value is MISSING:
            missing.append(found.name)
        else:
            values[found.name] = value
    if missing:
        needs = ", ".join(f"'{name}'" for name in missing)
        raise located(
            f"the part '{draft.name}' ({type_name(draft.target)}) needs {needs}; add {draft.name}.{missing[0]} = …",
            draft.place,
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
        raise located(f"{draft.name}: {error}", draft.place) from error


def _bound(state: _Build, draft: Draft, binding: Binding, hint: Any) -> Any:
    value = _evaluate(state, binding.value)
    try:
        return convert(value, hint)
    except Mismatch as error:
        places = _blamed(state.drafts.constants, binding.value, error.path)
        raise located(f"{draft.name}.{binding.field}{spelled(error)}", *places) from error


def _blamed(constants: Mapping[str, Any], node: Node, path: tuple[int | str, ...]) -> list[Place]:
    """The places of the item that ``path`` leads to; where a constant stands between, also the reading of it."""
    if isinstance(node, ConstantRead):
        return [node.place, *_blamed(constants, constants[node.name].value, path)]
    if path and isinstance(node, Group) and isinstance(path[0], int):
        return _blamed(constants, node.items[path[0]], path[1:])
    if path and isinstance(node, Table) and isinstance(path[0], str):
        return _blamed(constants, node.entries[path[0]], path[1:])
    return [node.place]


def _evaluate(state: _Build, node: Node) -> Any:
    if isinstance(node, Literal | Given):
        return node.value
    if isinstance(node, Group):
        items = [_evaluate(state, item) for item in node.items]
        return items if node.listed else tuple(items)
    if isinstance(node, Table):
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
        places = [constants[name].place for name in circle]
        raise located(f"constants need each other in a circle: {' → '.join([*circle, node.name])}; break it", *places)
    if node.name in state.drafts.parts:
        raise located(f"'{node.name}' is a part; its name is written without %", node.place)
    if node.name not in constants:
        raise located(f"there is no constant '{node.name}'{suggestion(node.name, constants)}", node.place)
    state.open_constants.append(node.name)
    value = _evaluate(state, constants[node.name].value)
    state.open_constants.pop()
    return value


def _reference(state: _Build, node: Reference) -> Any:
    value = state.drafts.references.find(node.text, node.place)
    if isinstance(value, type) and is_dataclass(value):
        raise located(
            f"@{node.text} is a dataclass; define a part, name = @{node.text}, and write its name here", node.place
        )
    return value


def _named_part(state: _Build, node: PartName) -> Any:
    name, parts = node.name, state.drafts.parts
    if name in parts:
        return _part(state, name, node.place)
    if name in state.drafts.constants:
        raise located(f"'{name}' is a constant; write %{name}", node.place)
    part, _, inner = name.partition(".")
    if inner and part in parts:
        raise located(f"'{name}' is a field; a value that two fields share goes through a constant", node.place)
    words = [word for word in ("True", "False", "None") if word.lower() == name.lower()]
    near = suggestion(name, words or parts)
    quotes = f"\"…='{name}'\"" if node.place.label == "command line" else f"'{name}'"
    raise located(f"there is no part '{name}' (a text needs quotes: {quotes}){near}", node.place)
