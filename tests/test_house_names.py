"""House rules on names: a public name is used outside its module, and tests mirror the package file by file."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
KEPT = sorted(path.name for path in (CHECKOUT / "reasoning").iterdir() if (path / "__init__.py").exists())
CODE = ("reasoning", "launch", "benchmarks", "experiments", "notebooks")
TEXTS = ("README.md", "docs/*.md", "experiments/**/*.gin", "notebooks/*.ipynb")
CALLED_BY_NAME = "main"
"""What the command line and Python itself call in a module that they load by its name."""

Use = tuple[str, str]
"""A module and a name in it. A text may shorten the module to its last part, as an experiment file does."""


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def public_names(tree: ast.Module) -> list[str]:
    """What a module defines at its top and offers to others."""
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names += [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
    return [name for name in names if not name.startswith("_") and name != CALLED_BY_NAME]


def uses(tree: ast.Module) -> Iterator[Use]:
    """What a file imports by name, and what it reads of the modules that it imports."""
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield node.module, alias.name
                modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name: alias.name for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (module := modules.get(dotted(node.value))):
            yield module, node.attr


def dotted(node: ast.AST) -> str:
    """An expression as written if it is a name or an attribute of one, else nothing that a module is called."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    parts.append(node.id if isinstance(node, ast.Name) else "")
    return ".".join(reversed(parts))


def uses_in_text(text: str) -> Iterator[Use]:
    """What an experiment file, a page or a notebook names as ``module.name`` or imports in an example."""
    yield from re.findall(r"(\w+)\.(?=(\w+))", text)
    for module, names in re.findall(r"from reasoning\.([\w.]+) import ([\w, ]+)", text):
        yield from ((module.rpartition(".")[2], name) for name in re.findall(r"\w+", names))


def names_in_signatures(tree: ast.Module) -> set[str]:
    """Types that the module's public functions, methods, fields and type aliases are made of."""
    annotations: list[ast.AST | None] = []
    for top in tree.body:
        if isinstance(top, ast.Assign):
            annotations += [top.value] if isinstance(top.value, ast.BinOp | ast.Subscript) else []
        elif isinstance(top, ast.FunctionDef | ast.ClassDef) and not top.name.startswith("_"):
            for node in ast.walk(top):
                if isinstance(node, ast.arg | ast.AnnAssign):
                    annotations.append(node.annotation)
                elif isinstance(node, ast.FunctionDef):
                    annotations.append(node.returns)
    written = " ".join(ast.unparse(annotation) for annotation in annotations if annotation is not None)
    return set(re.findall(r"\w+", written))


def mirror(module: Path) -> Path:
    """The test file of ``core/mesh.py``: ``core/test_mesh.py``."""
    return module.with_name(f"test_{module.name}")


OFFERED = ("reasoning.data.chat.formats", "reasoning.models.presets")
"""Modules whose every name is there for users to write into their files."""


def unused_names(root: Path, packages: Iterable[str]) -> list[str]:
    """Public names of the packages that only their own module uses.

    Its own test file counts as a user, since a test reads no private name, and so do tests from end to end.
    """
    users: defaultdict[str, list[tuple[str, Path]]] = defaultdict(list)
    trees = {
        path: ast.parse(path.read_text())
        for folder in (*CODE, "tests/end_to_end")
        for path in (root / folder).rglob("*.py")
    }
    for path, tree in trees.items():
        for owner, name in set(uses(tree)):
            users[owner].append((name, path))
    texts = {use for pattern in TEXTS for path in root.glob(pattern) for use in uses_in_text(path.read_text())}
    offences = []
    for package in packages:
        for path in sorted((root / "reasoning" / package).rglob("*.py")):
            tree, module = trees[path], module_name(path, root)
            test = root / "tests" / mirror(path.relative_to(root / "reasoning"))
            here = set(uses(ast.parse(test.read_text()))) if test.exists() else set()
            told = names_in_signatures(tree) | {name for stem, name in texts if stem == module.rpartition(".")[2]}
            told |= {name for owner, name in here if owner == module}
            told |= {name for name, user in users[module] if user != path}
            if module not in OFFERED:
                offences += [f"{module}.{name} has no user" for name in public_names(tree) if name not in told]
    return offences


def mirror_offences(root: Path, packages: Iterable[str]) -> list[str]:
    """Modules of the packages without a test file of their own, and test files without a module."""
    offences = []
    for package in packages:
        modules = {path.relative_to(root / "reasoning") for path in (root / "reasoning" / package).rglob("*.py")}
        modules = {mirror(path) for path in modules if not path.name.startswith("__")}
        tests = {path.relative_to(root / "tests") for path in (root / "tests" / package).rglob("test_*.py")}
        offences += [f"tests/{path} is missing" for path in sorted(modules - tests)]
        offences += [f"tests/{path} tests no module of that name" for path in sorted(tests - modules)]
    return offences


def test_a_public_name_is_used_outside_its_module():
    offences = unused_names(CHECKOUT, KEPT)
    assert not offences, "\n" + "\n".join(offences)


def test_tests_mirror_the_package_file_by_file():
    offences = mirror_offences(CHECKOUT, KEPT)
    assert not offences, "\n" + "\n".join(offences)


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path = path.with_name(re.sub(r"_(py|gin|md)$", r".\1", path.name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


LONELY = "def lonely(): ...\n"


@pytest.mark.parametrize(
    "user",
    [
        {"reasoning__core__b_py": "from reasoning.core.a import lonely"},
        {"reasoning__core__b_py": "from reasoning.core import a as letters\nletters.lonely()"},
        {"reasoning__core__b_py": "import reasoning.core.a\nreasoning.core.a.lonely()"},
        {"tests__core__test_a_py": "from reasoning.core.a import lonely"},
        {"experiments__x_gin": "zero.reward = @core.a.lonely"},
        {"docs__x_md": "from reasoning.core.a import other, lonely"},
    ],
)
def test_a_name_that_another_file_uses_is_in_order(tmp_path, user):
    write(tmp_path, reasoning__core__a_py=LONELY, **user)
    assert unused_names(tmp_path, ["core"]) == []


@pytest.mark.parametrize(
    "user",
    [
        {"reasoning__core__b_py": "from reasoning.core.c import lonely"},
        {"reasoning__core__b_py": "def f(a): return a.lonely"},
        {"tests__core__test_b_py": "from reasoning.core.a import lonely"},
        {"docs__x_md": "a lonely word"},
    ],
)
def test_a_name_that_nobody_else_uses_is_named(tmp_path, user):
    write(tmp_path, reasoning__core__a_py=LONELY + "lonely()", **user)
    assert "reasoning.core.a.lonely has no user" in unused_names(tmp_path, ["core"])


def test_types_of_public_signatures_may_stay_and_constants_may_not(tmp_path):
    source = (
        "LIMIT = 1\nclass Kind: ...\nclass Lost: ...\ndef _f(x: Lost): return LIMIT\ndef main(x: 'list[Kind]'): ..."
    )
    write(tmp_path, reasoning__core__a_py=source)
    assert unused_names(tmp_path, ["core"]) == [f"reasoning.core.a.{name} has no user" for name in ("LIMIT", "Lost")]


def test_a_missing_and_a_stray_test_file_are_named(tmp_path):
    write(tmp_path, reasoning__core__deep__a_py="", reasoning__core__b_py="", tests__core__test_b_py="")
    (tmp_path / "tests/core/test_c.py").write_text("")
    (tmp_path / "reasoning/core/__init__.py").write_text("")
    assert mirror_offences(tmp_path, ["core"]) == [
        "tests/core/deep/test_a.py is missing",
        "tests/core/test_c.py tests no module of that name",
    ]
