"""Settings back from what ``describe`` told of them, as an artifact records it."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from reasoning.core.errors import InputError
from reasoning.experiment.references import find_object
from reasoning.experiment.types import Mismatch, coerce, hints_of, value_words


def restore(described: Any) -> Any:
    """The setting that ``describe`` tells so: records of settings, functions and classes that are found by name, texts,
    numbers, dicts, and tuples, which lists were too.

    Nothing is called but the classes of records. Raises InputError where a name leads nowhere, a record has no such
    field any more, or a function was told apart by its source.
    """
    if isinstance(described, str):
        named = described.startswith("@") and not described.startswith("@@")
        return find_object(described[1:]) if named else described.removeprefix("@")
    if isinstance(described, list):
        return tuple(restore(item) for item in described)
    if not isinstance(described, Mapping):
        return described
    values = {name: restore(value) for name, value in described.items() if name != "@"}
    if "@" not in described:
        return {name.removeprefix("@"): value for name, value in values.items()}
    name = described["@"]
    if not isinstance(name, str):
        raise InputError(f"{value_words(name)} names no record of settings; another version may have recorded it")
    target = find_object(name)
    if not (isinstance(target, type) and is_dataclass(target)):
        raise InputError(f"@{name} is no record of settings, so it can't be made again")
    unknown = sorted(values.keys() - {field.name for field in fields(target) if field.init})
    if unknown:
        raise InputError(f"{name} has no field {', '.join(unknown)}; another version of it was recorded")
    hints = hints_of(target)
    try:
        return target(**{key: coerce(value, hints[key]) for key, value in values.items()})
    except (Mismatch, TypeError) as error:
        raise InputError(f"{name}: the recorded settings don't fit it: {error}") from None
