"""Carries out the lines of experiment files in order: includes, definitions, copies, bindings, then the overrides."""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from reasoning.core.errors import InputError
from reasoning.experiment.nodes import (
    Binding,
    Change,
    Definition,
    Given,
    Include,
    PartName,
    Reference,
    Statement,
    read_constants,
)
from reasoning.experiment.places import Place, located, suggestion
from reasoning.experiment.references import References
from reasoning.experiment.syntax import given_override, parse, parse_override
from reasoning.experiment.types import type_name

Overrides = str | Sequence[str] | Mapping[str, object]


@dataclass(frozen=True)
class Draft:
    """A part before it is built: its dataclass and what its fields were last bound to."""

    name: str
    target: type
    bindings: dict[str, Binding]
    place: Place


@dataclass(frozen=True)
class Drafts:
    """Everything that a file and its includes define, by name; ``read`` are the names of the constants read in them."""

    parts: dict[str, Draft] = field(default_factory=dict)
    constants: dict[str, Definition] = field(default_factory=dict)
    references: References = field(default_factory=References)
    read: set[str] = field(default_factory=set)

    def bind(self, binding: Binding) -> None:
        """Binds a field of a part that exists; raises InputError where the part has no such field."""
        draft = self.parts[binding.part]
        known = {found.name: found for found in fields(draft.target)}
        if binding.field not in known:
            settable = [found.name for found in known.values() if found.init]
            subject = f"'{binding.part}' ({type_name(draft.target)})"
            raise located(
                f"{subject} has no field '{binding.field}'{suggestion(binding.field, settable)}", binding.field_place
            )
        if not known[binding.field].init:
            subject = f"'{binding.part}' ({type_name(draft.target)})"
            raise located(f"{subject} works out '{binding.field}' itself; it can't be set", binding.field_place)
        draft.bindings[binding.field] = binding


def load(path: Path) -> list[Statement]:
    """The statements of a file with those of its includes in their places.

    A file that is reached a second time adds nothing. Raises InputError for a missing or unreadable file, for bad
    syntax and for files that include each other in a circle.
    """
    return list(_expanded(str(path), [], set()))


def draft(statements: Sequence[Statement], overrides: Overrides) -> Drafts:
    """What the statements define once the overrides are applied; raises InputError for unknown and repeated names."""
    drafts = Drafts()
    defined = {line.name: line.place for line in statements if isinstance(line, Definition)}
    for line in statements:
        if isinstance(line, Definition):
            _define(drafts, line, defined)
        elif isinstance(line, Binding):
            if line.part not in drafts.parts:
                raise _not_a_part(drafts, line.part, line.place, defined)
            drafts.bind(line)
        if not isinstance(line, Include):
            drafts.read.update(read_constants(line.value))
    _check_all_read(drafts)
    for line in override_lines(overrides):
        _override(drafts, line)
    return drafts


def changed(drafts: Drafts, changes: Iterable[Change]) -> Drafts:
    """The drafts with more overrides applied, ``drafts`` itself as it was; raises InputError for unknown names."""
    parts = {name: replace(part, bindings=dict(part.bindings)) for name, part in drafts.parts.items()}
    found = replace(drafts, parts=parts, constants=dict(drafts.constants))
    for line in changes:
        _override(found, line)
    return found


def _expanded(path: str, including: list[tuple[str, Place]], seen: set[str]) -> Iterator[Statement]:
    """``including`` holds the real path and the include line of each file that led here."""
    real = os.path.realpath(path)
    above = [name for name, _ in including]
    places = [place for _, place in including]
    if real in above:
        raise located("files include each other in a circle; take one of these lines out", *places[above.index(real) :])
    if real in seen:
        return
    seen.add(real)
    for line in parse(_read_text(path, places[-1:]), path):
        if isinstance(line, Include):
            target = os.path.normpath(os.path.join(os.path.dirname(path), line.path))
            yield from _expanded(target, [*including, (real, line.place)], seen)
        else:
            yield line


def _read_text(path: str, places: Iterable[Place]) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        folder, name = os.path.split(path)
        beside = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
        near = difflib.get_close_matches(name, sorted(beside), n=1)
        advice = f"; did you mean '{os.path.join(folder, near[0])}'?" if near else "; check the path"
        raise located(f"there is no experiment file {path}{advice}", *places) from error
    except OSError as error:
        raise located(f"the experiment file {path} can't be read: {error.strerror}", *places) from error
    except UnicodeDecodeError as error:
        raise located(f"the experiment file {path} is not UTF-8 text; save it as such", *places) from error


def _define(drafts: Drafts, line: Definition, defined: Mapping[str, Place]) -> None:
    earlier = drafts.parts.get(line.name) or drafts.constants.get(line.name)
    if earlier is not None:
        raise located(
            f"'{line.name}' is defined twice; keep one, or rebind a field of it, or override it",
            line.place,
            earlier.place,
        )
    if isinstance(line.value, Reference):
        target = drafts.references.find(line.value.text, line.value.place)
        if isinstance(target, type) and is_dataclass(target):
            drafts.parts[line.name] = Draft(line.name, target, {}, line.place)
            return
        if is_dataclass(target) and not isinstance(target, type):
            drafts.parts[line.name] = Draft(line.name, type(target), _as_it_is(target, line), line.place)
            return
    if isinstance(line.value, PartName):
        original = drafts.parts.get(line.value.name)
        if original is None:
            raise _not_a_part(drafts, line.value.name, line.value.place, defined)
        drafts.parts[line.name] = replace(original, name=line.name, bindings=dict(original.bindings), place=line.place)
        return
    drafts.constants[line.name] = line


def _as_it_is(record: Any, line: Definition) -> dict[str, Binding]:
    """Bindings that make a part equal to a record which a module holds ready, such as a family's chat format."""
    place = line.value.place
    return {
        found.name: Binding(line.name, found.name, Given(getattr(record, found.name), place), line.place, place)
        for found in fields(record)
        if found.init and found.name != "name"
    }


def _not_a_part(drafts: Drafts, name: str, place: Place, defined: Mapping[str, Place]) -> InputError:
    if name in drafts.constants:
        return located(
            f"'{name}' is a constant, which is read as %{name} and has no fields", place, drafts.constants[name].place
        )
    if name in defined:
        return located(f"'{name}' is not defined yet on this line; define it first", place, defined[name])
    return located(f"there is no part '{name}'{suggestion(name, drafts.parts)}", place)


def _check_all_read(drafts: Drafts) -> None:
    for name, line in drafts.constants.items():
        if name not in drafts.read:
            others = (drafts.constants.keys() | drafts.parts.keys() | drafts.read) - {name}
            near = suggestion(name, others)
            advice = near if "did you mean" in near else "; take it out"
            raise located(f"nothing reads the constant '{name}' (as %{name}){advice}", line.place)


def override_lines(overrides: Overrides) -> list[Change]:
    """The statements of overrides; raises InputError for one that is no statement."""
    if isinstance(overrides, Mapping):
        return [given_override(key, value) for key, value in overrides.items()]
    return [parse_override(text) for text in ([overrides] if isinstance(overrides, str) else overrides)]


def _override(drafts: Drafts, line: Change) -> None:
    if isinstance(line, Binding):
        if line.part not in drafts.parts:
            raise _not_a_part(drafts, line.part, line.place, {})
        drafts.bind(line)
    elif line.name in drafts.constants:
        drafts.constants[line.name] = line
    elif line.name in drafts.parts:
        some = next((found.name for found in fields(drafts.parts[line.name].target) if found.init), "field")
        raise located(
            f"'{line.name}' is a part; an override sets one of its fields, as in {line.name}.{some}=…", line.place
        )
    else:
        raise located(f"there is no constant '{line.name}'{suggestion(line.name, drafts.constants)}", line.place)
