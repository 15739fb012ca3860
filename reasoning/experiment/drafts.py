"""Carries out the lines of experiment files in order: includes, definitions, copies, bindings, then the overrides."""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from reasoning.core.errors import InputError
from reasoning.core.files import read_file
from reasoning.experiment.locations import Location, error_at, quoted, suggestion
from reasoning.experiment.nodes import (
    Binding,
    Change,
    Definition,
    Include,
    LiteralNode,
    PartName,
    Reference,
    Statement,
    read_constants,
)
from reasoning.experiment.references import References
from reasoning.experiment.syntax import given_override, parse_file, parse_override
from reasoning.experiment.tokens import DEPTH, LENGTH
from reasoning.experiment.types import type_name

Overrides = str | Sequence[str] | Mapping[str, object]


@dataclass(frozen=True)
class Draft:
    """A part before it is built: its dataclass and what its fields were last bound to."""

    name: str
    target: type
    bindings: dict[str, Binding]
    location: Location


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
        known = {setting.name: setting for setting in fields(draft.target)}
        subject = f"'{binding.part}' ({type_name(draft.target)})"
        if binding.field not in known:
            settable = [setting.name for setting in known.values() if setting.init]
            raise error_at(
                f"{subject} has no field {quoted(binding.field)}{suggestion(binding.field, settable)}",
                binding.field_location,
            )
        if not known[binding.field].init:
            raise error_at(f"{subject} works out '{binding.field}' itself; it can't be set", binding.field_location)
        draft.bindings[binding.field] = binding


@dataclass
class _Loading:
    """The real paths of the files that were read, and how many characters they have."""

    seen: set[str] = field(default_factory=set)
    characters: int = 0


def load_statements(path: Path) -> list[Statement]:
    """The statements of a file with those of its includes where they stand.

    A file that is reached a second time adds nothing. Raises InputError for a missing or unreadable file, for bad
    syntax, for files that include each other in a circle, and where they are too many or too long.
    """
    return list(_expanded(str(path), [], _Loading()))


def draft_parts(statements: Sequence[Statement], overrides: Overrides) -> Drafts:
    """What the statements define once the overrides are applied; raises InputError for unknown and repeated names."""
    drafts = Drafts()
    defined = {line.name: line.location for line in statements if isinstance(line, Definition)}
    for line in statements:
        if isinstance(line, Definition):
            _define(drafts, line, defined)
        elif isinstance(line, Binding):
            if line.part not in drafts.parts:
                raise _not_a_part(drafts, line.part, line.location, defined)
            drafts.bind(line)
        if not isinstance(line, Include):
            drafts.read.update(read_constants(line.value))
    _check_all_read(drafts)
    for line in parse_overrides(overrides):
        _override(drafts, line)
    return drafts


def with_changes(drafts: Drafts, changes: Iterable[Change]) -> Drafts:
    """The drafts with more overrides applied, ``drafts`` itself as it was; raises InputError for unknown names."""
    parts = {name: replace(part, bindings=dict(part.bindings)) for name, part in drafts.parts.items()}
    varied = replace(drafts, parts=parts, constants=dict(drafts.constants))
    for line in changes:
        _override(varied, line)
    return varied


def _expanded(path: str, including: list[tuple[str, Location]], loading: _Loading) -> Iterator[Statement]:
    """``including`` holds the real path and the include line of each file that led here."""
    above = [name for name, _ in including]
    locations = [location for _, location in including]
    text, real = _read_text(path, locations[-1:]), os.path.realpath(path)
    if real in above:
        raise error_at(
            "files include each other in a circle; take one of these lines out", *locations[above.index(real) :]
        )
    if len(including) >= DEPTH:
        raise error_at(f"files include each other more than {DEPTH} deep; include them side by side", *locations)
    if real in loading.seen:
        return
    loading.seen.add(real)
    loading.characters += len(text)
    if loading.characters > LENGTH:
        raise error_at(f"the files have more than {LENGTH:,} characters together with {path}", *locations[-1:])
    for line in parse_file(text, path):
        if isinstance(line, Include):
            target = os.path.normpath(os.path.join(os.path.dirname(path), line.path))
            yield from _expanded(target, [*including, (real, line.location)], loading)
        else:
            yield line


def _read_text(path: str, locations: Iterable[Location]) -> str:
    try:
        text = read_file(path, 4 * LENGTH).decode("utf-8-sig")
        return text.replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError as error:
        folder, name = os.path.split(path)
        beside = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
        near = difflib.get_close_matches(name, sorted(beside), n=1)
        advice = f"; did you mean '{os.path.join(folder, near[0])}'?" if near else "; check the path"
        raise error_at(f"there is no experiment file {path}{advice}", *locations) from error
    except InputError as error:
        raise error_at(f"the experiment file {error}", *locations) from error
    except OSError as error:
        raise error_at(f"the experiment file {path} can't be read: {error.strerror}", *locations) from error
    except UnicodeDecodeError as error:
        raise error_at(f"the experiment file {path} is not UTF-8 text; save it as such", *locations) from error


def _define(drafts: Drafts, line: Definition, defined: Mapping[str, Location]) -> None:
    earlier = drafts.parts.get(line.name) or drafts.constants.get(line.name)
    if earlier is not None:
        raise error_at(
            f"{quoted(line.name)} is defined twice; keep one, or rebind a field of it, or override it",
            line.location,
            earlier.location,
        )
    if isinstance(line.value, Reference):
        target = drafts.references.find(line.value.text, line.value.location)
        if isinstance(target, type) and is_dataclass(target):
            drafts.parts[line.name] = Draft(line.name, target, {}, line.location)
            return
        if is_dataclass(target) and not isinstance(target, type):
            drafts.parts[line.name] = Draft(line.name, type(target), _as_it_is(target, line), line.location)
            return
    if isinstance(line.value, PartName):
        original = drafts.parts.get(line.value.name)
        if original is None:
            raise _not_a_part(drafts, line.value.name, line.value.location, defined)
        drafts.parts[line.name] = replace(
            original, name=line.name, bindings=dict(original.bindings), location=line.location
        )
        return
    drafts.constants[line.name] = line


def _as_it_is(record: Any, line: Definition) -> dict[str, Binding]:
    """Bindings that make a part equal to a record which a module holds ready, such as a family's chat format."""
    location = line.value.location
    return {
        setting.name: Binding(
            line.name, setting.name, LiteralNode(getattr(record, setting.name), location), line.location, location
        )
        for setting in fields(record)
        if setting.init and setting.name != "name"
    }


def _not_a_part(drafts: Drafts, name: str, location: Location, defined: Mapping[str, Location]) -> InputError:
    if name in drafts.constants:
        return error_at(
            f"'{name}' is a constant, which is read as %{name} and has no fields",
            location,
            drafts.constants[name].location,
        )
    if name in defined:
        return error_at(f"{quoted(name)} is not defined yet on this line; define it first", location, defined[name])
    return error_at(f"there is no part {quoted(name)}{suggestion(name, drafts.parts)}", location)


def _check_all_read(drafts: Drafts) -> None:
    for name, line in drafts.constants.items():
        if name not in drafts.read:
            others = (drafts.constants.keys() | drafts.parts.keys() | drafts.read) - {name}
            near = suggestion(name, others)
            advice = near if "did you mean" in near else "; take it out"
            raise error_at(f"nothing reads the constant '{name}' (as %{name}){advice}", line.location)


def parse_overrides(overrides: Overrides) -> list[Change]:
    """The statements of overrides; raises InputError for one that is no statement."""
    if isinstance(overrides, Mapping):
        return [given_override(key, value) for key, value in overrides.items()]
    return [parse_override(text) for text in ([overrides] if isinstance(overrides, str) else overrides)]


def _override(drafts: Drafts, line: Change) -> None:
    if isinstance(line, Binding):
        if line.part not in drafts.parts:
            raise _not_a_part(drafts, line.part, line.location, {})
        drafts.bind(line)
    elif line.name in drafts.constants:
        drafts.constants[line.name] = line
    elif line.name in drafts.parts:
        some = next((setting.name for setting in fields(drafts.parts[line.name].target) if setting.init), "field")
        raise error_at(
            f"'{line.name}' is a part; an override sets one of its fields, as in {line.name}.{some}=…", line.location
        )
    else:
        raise error_at(
            f"there is no constant {quoted(line.name)}{suggestion(line.name, drafts.constants)}", line.location
        )
