"""The house rules that a machine can check: order of packages, sizes, no suppressions, no setting without effect."""

import ast
import io
import re
import shutil
import subprocess
import sys
import tokenize
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp
import jaxtyping
import pytest

from reasoning.objectives.kl import k3

CHECKOUT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
# The reader of experiment files stands below the stages: they and all rows above take plain arguments.
ROWS = (
    "core kernels objectives models data sandbox tasks rewards generation training rollouts evaluation stages "
    "experiment pipeline use planning findings report viewer cli"
).split()

FILE_LINES = 350
FUNCTION_LINES = 60
SUPPRESSION = re.compile(r"noqa|type:\s*ignore|pyright:|mypy:|pylint:|pragma:|isort:")


def check_none(offences: list[str]) -> None:
    """Fail with every offender in full: a message that pytest shortens names nobody."""
    assert not offences, "\n" + "\n".join(offences)


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((CHECKOUT / folder).rglob("*.py"))]


def imports(path: Path, root: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that a file imports; ``from a import b`` counts as ``a.b``."""
    package = path.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def order_offences(root: Path) -> list[str]:
    """Imports from a row of the table that stands below the importer's own."""
    offences = []
    for path in sorted((root / "reasoning").rglob("*.py")):
        own = path.relative_to(root / "reasoning").parts[0]
        if own.endswith(".py"):
            continue
        where = path.relative_to(root)
        if own not in ROWS:
            offences.append(f"{where}: the package {own} has no row in the table")
            continue
        for line, name in imports(path, root):
            parts = name.split(".")
            if parts[0] != "reasoning" or len(parts) < 2 or parts[1] == own:
                continue
            if parts[1] not in ROWS:
                offences.append(f"{where}:{line} imports {name}, which is in no row")
            elif ROWS.index(parts[1]) > ROWS.index(own):
                offences.append(f"{where}:{line} imports {name}, but {parts[1]} stands below {own}")
    return offences


def test_a_package_imports_only_from_rows_above_its_own():
    check_none(order_offences(CHECKOUT))


@pytest.mark.parametrize(
    ("file", "line", "named"),
    [
        ("core/a.py", "from reasoning.models.decoder import x", "models stands below core"),
        ("core/a.py", "from reasoning import stages", "stages stands below core"),
        ("core/a.py", "def f():\n    import reasoning.cli.main", "cli stands below core"),
        ("data/deep/a.py", "from ...rewards import accuracy", "rewards stands below data"),
        (
            "training/a.py",
            "from reasoning.experiment.reader import read_experiment",
            "experiment stands below training",
        ),
        ("utils/a.py", "", "utils has no row"),
    ],
)
def test_an_import_against_the_order_is_named(tmp_path, file, line, named):
    path = tmp_path / "reasoning" / file
    path.parent.mkdir(parents=True)
    path.write_text(line)
    [offence] = order_offences(tmp_path)
    assert f"reasoning/{file}" in offence
    assert named in offence


LAUNCHERS_KNOW = tuple(
    "reasoning.cli.distributed. reasoning.experiment.reader. reasoning.pipeline.sweeps.arms. "
    "reasoning.planning.topology. reasoning.core.errors. reasoning.report.console.".split()
)


def test_launchers_know_only_how_a_process_joins_a_job_and_what_is_launched():
    foreign = [
        f"{path.relative_to(CHECKOUT)}:{line} imports {name}"
        for path in python_files("launch")
        for line, name in imports(path, CHECKOUT)
        if name.startswith("reasoning") and not name.startswith(LAUNCHERS_KNOW)
    ]
    check_none(foreign)


def test_no_file_is_longer_than_350_lines():
    sizes = {path: len(path.read_text().splitlines()) for path in python_files("reasoning", "launch", "tests")}
    check_none([f"{path.relative_to(CHECKOUT)} has {size} lines" for path, size in sizes.items() if size > FILE_LINES])


def long_functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            described = (node.body[0].end_lineno or 0) - node.body[0].lineno + 1 if body is not node.body else 0
            size = (node.end_lineno or 0) - node.lineno + 1 - described
            if size > FUNCTION_LINES:
                yield node.name, size


def test_no_function_is_longer_than_60_lines_without_its_docstring():
    offences = [
        f"{path.relative_to(CHECKOUT)}: {name} has {size} lines"
        for path in python_files("reasoning", "launch", "tests")
        for name, size in long_functions(ast.parse(path.read_text()))
    ]
    check_none(offences)


def test_a_docstring_does_not_count_and_a_body_does():
    body = "    x = 1\n" * 59
    documented = 'def f():\n    """One.\n\n    Two.\n    """\n'
    assert list(long_functions(ast.parse(documented + body))) == []
    assert list(long_functions(ast.parse(documented + body + "    y = 2\n"))) == [("f", 61)]


def test_nothing_silences_the_linter_or_the_type_checker():
    offences = [
        f"{path.relative_to(CHECKOUT)}:{token.start[0]} {token.string}"
        for path in python_files("reasoning", "launch", "tests", "benchmarks")
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
        if token.type == tokenize.COMMENT and SUPPRESSION.search(token.string)
    ]
    check_none(offences)
    assert "per-file-ignores" not in PROJECT["tool"]["ruff"]["lint"]


def is_dataclass(node: ast.ClassDef) -> bool:
    names = {ast.unparse(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list}
    return bool(names & {"dataclass", "dataclasses.dataclass"})


def field_names(record: ast.ClassDef) -> list[str]:
    fields = [part for part in record.body if isinstance(part, ast.AnnAssign)]
    annotated = [part.target for part in fields if not ast.unparse(part.annotation).startswith("ClassVar")]
    return [target.id for target in annotated if isinstance(target, ast.Name)]


def reads_itself_whole(record: ast.ClassDef) -> bool:
    """Whether a method goes over all fields at once, by ``fields(self)`` and the like."""
    whole = {
        f"{call}({record_name})" for call in ("fields", "asdict", "astuple") for record_name in ("self", record.name)
    }
    return any(isinstance(node, ast.Call) and ast.unparse(node) in whole for node in ast.walk(record))


def fields_and_reads(trees: list[ast.Module]) -> tuple[list[tuple[str, str]], set[str]]:
    """Every (dataclass, field) and the names of all attributes that are read outside ``__post_init__``.

    A check of a value is no use of it. Reads are told by name alone, so a field that shares its name with another
    can hide; the test finds the rest.
    """
    nodes = [node for tree in trees for node in ast.walk(tree)]
    checks = {
        id(inner)
        for node in nodes
        if isinstance(node, ast.FunctionDef) and node.name == "__post_init__"
        for inner in ast.walk(node)
    }
    reads = {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and id(node) not in checks
    }
    records = [node for node in nodes if isinstance(node, ast.ClassDef) and is_dataclass(node)]
    fields = [
        (record.name, name) for record in records if not reads_itself_whole(record) for name in field_names(record)
    ]
    return fields, reads


def template_reads() -> set[str]:
    """The names of all attributes that the package's templates read."""
    texts = [path.read_text() for path in (CHECKOUT / "reasoning").rglob("templates/*")]
    parts = [part for text in texts for part in re.findall(r"{[{%].*?[%}]}", text, re.DOTALL)]
    return {name for part in parts for name in re.findall(r"\.(\w+)", part)}


def test_every_field_of_a_settings_dataclass_is_read_somewhere():
    fields, reads = fields_and_reads([ast.parse(path.read_text()) for path in python_files("reasoning")])
    reads |= template_reads()
    assert len(fields) > 20
    check_none([f"nothing reads {owner}.{name}" for owner, name in fields if name not in reads])


def test_a_setting_that_is_only_checked_counts_as_unread():
    source = """
@dataclass(frozen=True)
class Settings:
    used: int
    kl_coef: float
    def __post_init__(self):
        if self.kl_coef < 0: raise ValueError
    def run(self): return self.used
"""
    fields, reads = fields_and_reads([ast.parse(source)])
    assert fields == [("Settings", "used"), ("Settings", "kl_coef")]
    assert "used" in reads
    assert "kl_coef" not in reads


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> list[str]:
    """Names of the files in a wheel that is built from a copy of the checkout."""
    copy = tmp_path_factory.mktemp("build") / "checkout"
    outside = shutil.ignore_patterns(".*", "runs", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(CHECKOUT, copy, ignore=outside)
    program = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", program], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(copy / done.stdout.split()[-1]).namelist()


def test_the_wheel_holds_the_package_and_nothing_beside_it(wheel):
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"reasoning"}


def test_the_wheel_holds_every_file_of_the_package(wheel):
    package = [path for path in (CHECKOUT / "reasoning").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    check_none(sorted({str(path.relative_to(CHECKOUT)) for path in package} - set(wheel)))


REQUIREMENTS = sorted((CHECKOUT / "requirements").glob("*.txt"))


def entries(path: Path) -> list[str]:
    """The requirements of a file, one string each, continuation lines joined."""
    return path.read_text().replace("\\\n", "").splitlines()


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.stem)
def test_every_requirement_is_one_exact_release_with_its_hashes_and_no_address(path):
    assert entries(path)
    pinned = re.compile(r"[a-z0-9-]+==[0-9][\w.]*( ; [\w.\s'<>=()!*]+?)?(\s+--hash=sha256:[0-9a-f]{64})+")
    check_none([entry for entry in entries(path) if not pinned.fullmatch(entry)])


def pins(name: str) -> set[str]:
    return {entry.split("--hash")[0].strip() for entry in entries(CHECKOUT / "requirements" / f"{name}.txt")}


@pytest.mark.parametrize("extra", ["dev", "docs", "cuda12", "cuda13", "tpu"])
def test_every_environment_runs_the_package_with_the_same_releases(extra):
    def releases(name):  # without markers, which differ where several packages want the same one
        return {pin.split(" ;")[0] for pin in pins(name)}

    assert releases("run") <= releases(extra)


def test_ahead_of_time_compilation_has_the_libtpu_of_the_tpu_environment():
    assert pins("tpu-aot") == {pin for pin in pins("tpu") if pin.startswith("libtpu==")}


@pytest.mark.parametrize(("name", "extra"), [("run", None), ("dev", "dev"), ("docs", "docs"), ("tpu", "tpu")])
def test_every_dependency_of_pyproject_is_pinned(name, extra):
    wanted = PROJECT["project"]["dependencies"] + (PROJECT["project"]["optional-dependencies"][extra] if extra else [])
    names = {re.match(r"[\w.-]+", requirement)[0] for requirement in wanted}
    check_none(sorted(names - {pin.split("==")[0] for pin in pins(name)}))


def test_array_annotations_are_checked_while_tests_run():
    with pytest.raises(jaxtyping.TypeCheckError):
        k3(jnp.zeros((2, 3)), jnp.zeros((2, 4)))


def printing_offences(path: Path) -> list[str]:
    """What a file prints otherwise than by ``report.console``, which lets no control character through."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        called = node.func if isinstance(node, ast.Call) else None
        direct = isinstance(called, ast.Name) and called.id in ("print", "Text")
        method = isinstance(called, ast.Attribute) and called.attr in ("print", "print_exc", "print_exception", "write")
        if direct or (method and "std" in ast.unparse(called)) or (method and called.attr != "write"):
            found.append(f"{path.name}:{node.lineno}: {ast.unparse(called)}(…); print by report.console")
    return found


def test_the_commands_and_the_report_print_through_one_door():
    files = [path for path in python_files("reasoning/cli", "reasoning/report") if path.name != "console.py"]
    check_none([offence for path in files for offence in printing_offences(path)])


@pytest.mark.parametrize("line", ["print(name)", "console.print(name)", "sys.stderr.write(name)", "Text(name)"])
def test_a_line_past_the_door_is_named(tmp_path, line):
    (tmp_path / "a.py").write_text(line)
    assert len(printing_offences(tmp_path / "a.py")) == 1


def encoding_offences(path: Path) -> list[str]:
    """Calls that read or write text by the locale, which isn't UTF-8 on every machine."""
    offences = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        given = {word.arg for word in node.keywords}
        mode = [word.value for word in node.keywords if word.arg == "mode"] + node.args[name == "open" and 1 :][:1]
        binary = any(isinstance(each, ast.Constant) and "b" in str(each.value) for each in mode)
        text = name in ("read_text", "write_text") and isinstance(function, ast.Attribute)
        opened = name == "open" and isinstance(function, ast.Name) and not binary
        process = name in ("run", "Popen", "check_output") and given & {"text", "universal_newlines"}
        if (text or opened or process) and "encoding" not in given:
            offences.append(f"{path.name}:{node.lineno}: {name} without encoding")
    return offences


def test_text_is_read_and_written_as_utf_8_whatever_the_locale(tmp_path):
    check_none([one for path in python_files("reasoning", "launch") for one in encoding_offences(path)])
    bad = tmp_path / "bad.py"
    bad.write_text(
        "open(p)\nopen(p, 'rb')\nq.read_text()\nsubprocess.run(c, text=True)\nopen(p, 'w', encoding='utf-8')\n"
    )
    assert [offence.split(":")[1] for offence in encoding_offences(bad)] == ["1", "3", "4"]
