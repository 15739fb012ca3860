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
from reasoning.experiment.build import build_parts
from reasoning.experiment.describe import FieldFilter, Replacement, describe, every_field, replace_nothing, user_sources
from reasoning.experiment.drafts import Drafts, Overrides, draft_parts, load_statements, parse_overrides, with_changes
from reasoning.experiment.locations import suggestion
from reasoning.experiment.nodes import Change
from reasoning.experiment.references import References, importable
from reasoning.experiment.text import resolved_text, value_text


@dataclass(frozen=True)
class Experiment:
    """The parts of one experiment file, built and checked.

    ``parts`` maps names to objects in the order of definition; ``user_sources`` maps every module of the user's that
    the file uses to the SHA-256 of its source; ``locations`` maps ``part`` and ``part.field`` to ``file:line``.
    """

    path: Path
    parts: Mapping[str, Any]
    user_sources: Mapping[str, str]
    locations: Mapping[str, str] = field(repr=False)
    references: References = field(repr=False)
    drafts: Drafts = field(repr=False)

    def part(self, name: str) -> Any:
        """The object called ``name``; raises InputError where there is none."""
        if name not in self.parts:
            raise InputError(f"{self.path} defines no part '{name}'{suggestion(name, self.parts)}")
        return self.parts[name]

    def source(self, name: str) -> str:
        """``file:line`` of a part's definition, or of ``part.field`` where it was last bound (else of its part)."""
        part = name.partition(".")[0]
        self.part(part)
        return self.locations.get(name, self.locations[part])

    def vary(self, changes: Sequence[Change], overrides: Overrides = ()) -> "Experiment":
        """This experiment with more overrides applied, built and checked anew; InputError as in ``read_experiment``."""
        with importable(Path.cwd(), self.path.parent):
            return _built(self.path, with_changes(self.drafts, [*changes, *parse_overrides(overrides)]))

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
        return resolved_text(self.parts, tuple(roots) or tuple(self.parts), self.references)

    def describe(self, value: object, replace: Replacement = replace_nothing, wanted: FieldFilter = every_field) -> Any:
        """As ``describe``, and knows by what text this file refers to objects that have no name of their own."""
        return describe(value, replace, wanted, self.references.text)


def read_experiment(path: str | Path, overrides: Overrides = ()) -> Experiment:
    """Reads an experiment file and everything it includes, and builds and checks all its parts.

    ``overrides`` are texts of the command line (``'run.seed=3'``) or a mapping ``{'run.seed': 3}`` of Python
    values. Raises InputError, with file and line, the source line and a caret, for anything that is wrong.
    """
    path = Path(path)
    with importable(Path.cwd(), path.parent):
        return _built(path, draft_parts(load_statements(path), overrides))


def _built(path: Path, drafts: Drafts) -> Experiment:
    parts = build_parts(drafts)
    sources = user_sources(tuple(parts.values()), text=drafts.references.text)
    return Experiment(
        path=path,
        parts=MappingProxyType(parts),
        user_sources=MappingProxyType(sources),
        locations=MappingProxyType(_locations(drafts)),
        references=drafts.references,
        drafts=drafts,
    )


def _locations(drafts: Drafts) -> dict[str, str]:
    locations: dict[str, str] = {}
    for name, part in drafts.parts.items():
        locations[name] = part.location.label
        for key, binding in part.bindings.items():
            locations[f"{name}.{key}"] = binding.location.label
    return locations
