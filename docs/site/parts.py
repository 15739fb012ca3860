"""Pages on what an experiment file can name, made from the classes themselves: fields, types, defaults, comments."""

import ast
import importlib
import inspect
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from reasoning.core.errors import InputError
from reasoning.experiment.references import find_object, name_of

NAMING = ("README.md", "docs/*.md", "experiments/**/*.gin")
"""Files whose ``@module.name`` say what people name."""

_FIRST = ("pipeline", "stages", "tasks", "rewards", "objectives", "training", "models", "data", "evaluation")
_MEANT = {"__call__", "build", "problems", "replies", "choose", "documents", "marker", "sieve", "run"}
"""What the contracts of docs/design.md ask of a record that a file names."""

_OFFERED = ("reasoning.pipeline", "reasoning.stages", "reasoning.evaluation")


@dataclass(frozen=True)
class Setting:
    """A field as its class writes it: ``default`` is None where it must be given; ``comment`` may be empty."""

    type: str
    default: str | None
    comment: str


def settings_written(target: type) -> dict[str, Setting]:
    """The fields of a dataclass by name, in the order in which it takes them, those of its records included."""
    written: dict[str, Setting] = {}
    for owner in reversed(target.__mro__):
        if is_dataclass(owner):
            written |= _own(owner)
    taken = {field.name: field for field in fields(target) if field.init}
    # Dataclasses made by a call have no source of their own.
    return {name: written.get(name, _bare(field)) for name, field in taken.items()}


def _bare(field: Any) -> Setting:
    return Setting(str(field.type), None if field.default is MISSING else repr(field.default), "")


def _own(owner: type) -> dict[str, Setting]:
    source = inspect.cleandoc("\n" + inspect.getsource(owner))
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    tree = ast.parse(source).body[0]
    if not isinstance(tree, ast.ClassDef):
        return {}
    return {
        node.target.id: Setting(
            ast.unparse(node.annotation),
            _default(node.value),
            " ".join(comments[line] for line in range(node.lineno, (node.end_lineno or 0) + 1) if line in comments),
        )
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def _default(value: ast.expr | None) -> str | None:
    """The default in the source, out of ``field(default=…)`` where it is written so."""
    if not (isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "field"):
        return None if value is None else ast.unparse(value)
    given = {keyword.arg: keyword.value for keyword in value.keywords}
    if "default" in given:
        return ast.unparse(given["default"])
    return ast.unparse(given["default_factory"]) + "()" if "default_factory" in given else None


def named_in(root: Path) -> list[object]:
    """The objects of this package that the project's files and pages name by ``@``."""
    texts = [path.read_text() for pattern in NAMING for path in sorted(root.glob(pattern))]
    names = sorted({name for text in texts for name in re.findall(r"@([a-z_]+(?:\.\w+)+)", text)})
    found = []
    for name in names:
        # Pages name parts that readers write themselves, too.
        try:
            found.append(find_object(name))
        except InputError:
            continue
    return [value for value in found if (getattr(value, "__module__", None) or "").startswith("reasoning.")]


def parts_offered(root: Path) -> list[Any]:
    """What files name, what its fields hold by default or by their type, and the records that lie beside it."""
    packages = [importlib.import_module(name) for name in _OFFERED]
    waiting = named_in(root) + [getattr(package, name) for package in packages for name in package.__all__]
    seen: dict[str, Any] = {}
    while waiting:
        part = waiting.pop()
        name = name_of(part)
        module = inspect.getmodule(part)
        if name is None or name in seen or module is None or not module.__name__.startswith("reasoning."):
            continue
        if not (inspect.isfunction(part) or (inspect.isclass(part) and is_dataclass(part))):
            continue
        seen[name] = part
        waiting += _led_to(part) if inspect.isclass(part) else []
        waiting += _beside(module)
    return [seen[name] for name in sorted(seen)]


def _led_to(part: type) -> Iterator[object]:
    for field in fields(part):
        default = field.default
        if default is not MISSING:
            yield type(default) if is_dataclass(default) else default


def _beside(module: ModuleType) -> Iterator[object]:
    """Other parts of a module: records that do what a file names them for; of functions objectives and rewards."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        takes = list(inspect.signature(value).parameters) if inspect.isfunction(value) else []
        if inspect.isclass(value) and is_dataclass(value) and _MEANT & set(vars(value)):
            yield value
        elif takes and (".objectives." in module.__name__ or takes[0] == "completions"):
            yield value


def package_of(part: object) -> str:
    """The package on whose page a part stands: ``stages`` of ``stages.GRPO``."""
    return (name_of(part) or "").partition(".")[0]


def pages(root: Path) -> dict[str, str]:
    """The pages by the package that they are of, those first that files begin with."""
    parts = parts_offered(root)
    packages = sorted({package_of(part) for part in parts}, key=lambda name: (_rank(name), name))
    return {package: _page(package, [part for part in parts if package_of(part) == package]) for package in packages}


def _rank(package: str) -> int:
    return _FIRST.index(package) if package in _FIRST else len(_FIRST)


def _page(package: str, parts: Iterable[Any]) -> str:
    told = inspect.getdoc(importlib.import_module(f"reasoning.{package}")) or ""
    return "\n\n".join([f"# {package}", told, *map(_section, parts)]) + "\n"


def _section(part: Any) -> str:
    name = name_of(part)
    if inspect.isfunction(part):
        return f"## {name}\n\n`{part.__name__}({', '.join(inspect.signature(part).parameters)})`\n\n{_prose(part)}"
    rows = [
        f"| `{field}` | {_code(setting.type)} | {_code(setting.default)} | {_cell(setting.comment)} |"
        for field, setting in settings_written(part).items()
    ]
    table = ["| field | type | default | |", "| --- | --- | --- | --- |", *rows] if rows else []
    return "\n\n".join(filter(None, (f"## {name}", _prose(part), "\n".join(table))))


def _prose(part: object) -> str:
    """The docstring, in which only blocks after ``::`` are other in Markdown than where it stands."""
    text = inspect.getdoc(part) or ""
    # A dataclass without a docstring is given its own signature by Python.
    return (
        "" if re.match(rf"{getattr(part, '__name__', '')}\(", text) else re.sub(r"::$", ":", text, flags=re.MULTILINE)
    )


def _code(text: str | None) -> str:
    return "must be given" if text is None else f"`` {_cell(text)} ``" if "`" in text else f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
