"""The reader of experiment files: from a file and overrides to checked objects, and back to a fully resolved text.

::

    include 'models/tiny.gin'            # relative to this file
    width = 64                           # a constant, read as %width
    zero = @stages.GRPO                  # a part: names it and says which dataclass it is
    zero.start = base                    # a bare name is another part; quotes are always text
    zero.aggregate = @objectives.aggregation.token_mean
    rl1 = zero                           # a copy of the part as it stands on this line

A definition stands once; a field may be bound again, and the last binding wins. Overrides come after all files and
touch only the part or constant that they name. ``@a.b`` is looked for in this package, then among all importable
modules, including those beside the file and in the current folder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from reasoning.core.errors import InputError
from reasoning.experiment.build import build
from reasoning.experiment.choices import choices, items
from reasoning.experiment.describe import Replace, Wanted, describe, every, is_hashed, keep, user_sources
from reasoning.experiment.drafts import Drafts, Overrides, changed, draft, load, override_lines
from reasoning.experiment.nodes import Change
from reasoning.experiment.places import Place, suggestion
from reasoning.experiment.references import References, importable
from reasoning.experiment.text import resolved, value_text

__all__ = ["Experiment", "Overrides", "describe", "is_hashed", "read", "user_sources"]


@dataclass(frozen=True)
class Experiment:
    """The parts of one experiment file, built and checked.

    ``parts`` maps names to objects in the order of definition; ``user_sources`` maps every module of the user's that
    the file uses to the SHA-256 of its source; ``places`` maps ``part`` and ``part.field`` to ``file:line``.
    """

    path: Path
    parts: Mapping[str, Any]
    user_sources: Mapping[str, str]
    places: Mapping[str, str] = field(repr=False)
    references: References = field(repr=False)
    drafts: Drafts = field(repr=False)

    def part(self, name: str) -> Any:
        """The object called ``name``; raises InputError where there is none."""
        if name not in self.parts:
            raise InputError(f"{self.path} defines no part '{name}'{suggestion(name, self.parts)}")
        return self.parts[name]

    def name_of(self, value: object) -> str | None:
        """The name of the part that is this very object, or None."""
        return next((name for name, part in self.parts.items() if part is value), None)

    def source(self, name: str) -> str:
        """``file:line`` of a part's definition, or of ``part.field`` where it was last bound (else of its part)."""
        part = name.partition(".")[0]
        self.part(part)
        return self.places.get(name, self.places[part])

    def choices(self, field: str) -> dict[str, tuple[Change, ...]]:
        """What a field such as ``{'zero.clip_high': (0.2, 0.28)}`` offers, by key: the overrides, to go to ``vary``.

        The field's type must make sure that it is a dict of tuples. A wrong value among them is found by ``vary``.
        """
        part, _, name = field.partition(".")
        return choices(self.drafts, part, name)

    def items(self, field: str) -> tuple[Place, ...]:
        """Where each item of a field that is a tuple stands, for errors that are found after reading."""
        part, _, name = field.partition(".")
        return items(self.drafts, part, name)

    def vary(self, changes: Sequence[Change], overrides: Overrides = ()) -> "Experiment":
        """This experiment with more overrides applied, built and checked anew; raises InputError as ``read`` does."""
        with importable(Path.cwd(), self.path.parent):
            return _built(self.path, changed(self.drafts, [*changes, *override_lines(overrides)]))

    def text(self, value: object) -> str:
        """A value as a file or an override would hold it, parts by name; InputError for what has no name here."""
        return value_text(value, self.parts, self.references)

    def resolved(self, roots: Sequence[str] = ()) -> str:
        """The file that says everything: the parts that ``roots`` (or all) reach, every default spelled out.

        It has no includes and no constants, names nested defaults (``zero_optimizer``), reads back to equal parts and
        gives itself again. Raises InputError for an unknown root and for a value that no text can express.
        """
        for name in roots:
            self.part(name)
        return resolved(self.parts, tuple(roots) or tuple(self.parts), self.references)

    def describe(self, value: object, replace: Replace = keep, wanted: Wanted = every) -> Any:
        """As ``describe``, and knows by what text this file refers to objects that have no name of their own."""
        return describe(value, replace, wanted, self.references.text)

    def sources_of(self, value: object, replace: Replace = keep) -> dict[str, str]:
        """As ``user_sources``, and knows in which modules this file found objects that have no name of their own."""
        return user_sources(value, replace, every, self.references.text)


def read(path: str | Path, overrides: Overrides = ()) -> Experiment:
    """Reads an experiment file and everything it includes, and builds and checks all its parts.

    ``overrides`` are texts of the command line (``'zero.clip_high=0.2'``) or a mapping ``{'zero.clip_high': 0.2}`` of
    Python values. Raises InputError, with file and line, the source line and a caret, for anything that is wrong.
    """
    path = Path(path)
    with importable(Path.cwd(), path.parent):
        return _built(path, draft(load(path), overrides))


def _built(path: Path, drafts: Drafts) -> Experiment:
    parts = build(drafts)
    sources = user_sources(tuple(parts.values()), keep, every, drafts.references.text)
    return Experiment(
        path=path,
        parts=MappingProxyType(parts),
        user_sources=MappingProxyType(sources),
        places=MappingProxyType(_places(drafts)),
        references=drafts.references,
        drafts=drafts,
    )


def _places(drafts: Drafts) -> dict[str, str]:
    places: dict[str, str] = {}
    for name, part in drafts.parts.items():
        places[name] = part.place.label
        for key, binding in part.bindings.items():
            places[f"{name}.{key}"] = binding.place.label
    return places
