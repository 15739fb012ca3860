"""Writes parts as an experiment file with every default spelled out, which reads back to equal parts."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Any

from reasoning.core.errors import InputError
from reasoning.experiment.references import References
from reasoning.experiment.types import settings_of, value_words


@dataclass(frozen=True)
class _Writer:
    """``names`` of objects by id and scope; ``taken`` names; finished ``blocks`` by name, dependencies first."""

    parts: Mapping[str, Any]
    references: References
    names: dict[tuple[int, str], str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    blocks: dict[str, str] = field(default_factory=dict)


def resolved_text(parts: Mapping[str, Any], roots: Sequence[str], references: References) -> str:
    """The text of the parts that ``roots`` reach, without includes and constants, each after what it needs.

    A nested default gets a name of its own, ``zero_optimizer``. The order follows ``roots`` and the fields, so the
    same parts give the same text, and the text read back gives itself. Raises InputError for a value that has no text.
    """
    writer = _Writer(parts, references, {(id(value), ""): name for name, value in parts.items()}, set(parts))
    for name in roots:
        _write(writer, name, parts[name], "")
    return "\n".join(writer.blocks.values())


def value_text(value: object, parts: Mapping[str, Any], references: References) -> str:
    """A value as a file would hold it, parts by name; raises InputError for a part that isn't one of ``parts``."""
    by_id = {id(part): name for name, part in parts.items()}

    def name_part(part: object, _: str) -> str:
        if id(part) not in by_id:
            raise InputError(f"{value_words(part)} is not a part of this experiment; define it in the file")
        return by_id[id(part)]

    return _spelled(value, references, name_part, "")


def _write(writer: _Writer, name: str, value: Any, scope: str) -> None:
    """Adds the block of ``value`` after the blocks of the parts that it needs.

    A default that the class holds once is an object of many parts, which nobody means as shared: within it, ``scope``
    (the name of the part that has the default) keeps the objects of different parts apart.
    """
    if name in writer.blocks:
        return
    target = type(value)
    text = writer.references.text(target)
    if text is None:
        raise InputError(f"the class of '{name}', {value_words(target)}, can't be found by name; put it into a module")
    shared = {setting.name for setting in fields(value) if _same(getattr(value, setting.name), setting.default)}
    lines = [f"{name} = @{text}"]
    for key, item in settings_of(value).items():
        inner_scope = scope or (name if key in shared else "")

        def name_part(part: object, label: str, scope: str = inner_scope) -> str:
            return _name_part(writer, part, label, scope)

        lines.append(f"{name}.{key} = {_spelled(item, writer.references, name_part, f'{name}_{key}')}")
    writer.blocks[name] = "\n".join(lines) + "\n"


def _same(value: Any, default: Any) -> bool:
    """Identity that sees through tuples, which are made anew when a value is checked."""
    if isinstance(value, tuple) and isinstance(default, tuple) and len(value) == len(default):
        return all(map(_same, value, default))
    return value is default


def _name_part(writer: _Writer, part: Any, label: str, scope: str) -> str:
    name = writer.names.get((id(part), "")) or writer.names.get((id(part), scope))
    if name is None:
        name = stem = re.sub(r"\W", "_", label)
        count = 1
        while name in writer.taken:
            count += 1
            name = f"{stem}_{count}"
        writer.taken.add(name)
        writer.names[id(part), scope] = name
    # A part of the experiment holds nothing of the default that it stands in.
    _write(writer, name, part, "" if name in writer.parts else scope)
    return name


def _spelled(value: Any, references: References, name_part: Callable[[object, str], str], label: str) -> str:
    """``label`` is the name that a part without one gets."""
    if isinstance(value, bool | int | float | str | None) and not isinstance(value, Enum):
        return repr(value)
    if isinstance(value, tuple | list):
        items = [_spelled(item, references, name_part, f"{label}_{index}") for index, item in enumerate(value)]
        if isinstance(value, list):
            return f"[{', '.join(items)}]"
        return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"
    if isinstance(value, dict):
        pairs = [f"{key!r}: {_spelled(item, references, name_part, f'{label}_{key}')}" for key, item in value.items()]
        return f"{{{', '.join(pairs)}}}"
    text = references.text(value)
    if text is not None:
        return f"@{text}"
    if is_dataclass(value) and not isinstance(value, type):
        return name_part(value, label)
    raise InputError(f"{label}: {value_words(value)} can't be found by name; put it into a module and refer to it by @")
