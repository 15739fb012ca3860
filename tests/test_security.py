"""Nothing that is opened runs code: the package is read for calls that turn data into programs (SECURITY.md)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]

CALLS = ("eval", "exec", "__import__", "compile")
ATTRIBUTES = (
    "pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.load", "marshal.loads", "shelve.open", "yaml.load",
    "torch.load", "os.system", "os.popen", "runpy.run_path", "runpy.run_module", "importlib.import_module",
)  # fmt: skip
SETTINGS = ("allow_pickle", "trust_remote_code", "shell")
MODULES = ("pickle", "dill", "cloudpickle", "shelve")

EXPECTED = {
    "reasoning/__init__.py": "names of the package are modules of it",
    "reasoning/cli/main.py": "commands are modules of the package",
    "reasoning/experiment/references.py": "experiment files name functions of the user's",
    "reasoning/pipeline/crew.py": "a run goes through a pipe to processes that it starts, and errors come back",
    "reasoning/planning/handed.py": "a plan's run goes through a pipe to processes that the plan starts",
    "reasoning/sandbox/launching.py": "starts the sandbox's own modules in their process",
    "reasoning/sandbox/inside/": "runs models' programs, within the sandbox",
}
"""Where data becomes code by design, and why."""


def offences(path: Path) -> Iterator[str]:
    """Calls and imports of a file that could run what it reads."""
    for node in ast.walk(ast.parse(path.read_text())):
        found = ""
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            named = [word.arg for word in node.keywords if word.arg in SETTINGS and not _is_off(word.value)]
            written = called == "importlib.import_module" and all(isinstance(each, ast.Constant) for each in node.args)
            found = (
                called
                if called in (*CALLS, *ATTRIBUTES) and not written
                else " ".join(f"{called}({name}=…)" for name in named)
            )
        elif isinstance(node, ast.Import):
            found = " ".join(alias.name for alias in node.names if alias.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            found = node.module or ""
        if found:
            yield f"{path.name}:{getattr(node, 'lineno', 0)}: {found}"


def _is_off(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


def test_nothing_but_what_is_expected_turns_data_into_code():
    found = {
        path.relative_to(CHECKOUT).as_posix(): told
        for folder in ("reasoning", "launch")
        for path in sorted((CHECKOUT / folder).rglob("*.py"))
        if (told := list(offences(path)))
    }
    unexpected = {place: told for place, told in found.items() if not place.startswith(tuple(EXPECTED))}
    assert not unexpected, unexpected
    assert all(any(place.startswith(expected) for place in found) for expected in EXPECTED), "a reason has no place"


@pytest.mark.parametrize(
    "line",
    [
        "eval(text)", "import pickle", "from dill import load", "np.load(file, allow_pickle=True)", "torch.load(file)",
        "subprocess.run(line, shell=True)", "AutoModel.from_pretrained(name, trust_remote_code=flag)",
    ],
)  # fmt: skip
def test_a_line_that_would_run_data_is_named(tmp_path: Path, line: str):
    (tmp_path / "a.py").write_text(line)
    assert len(list(offences(tmp_path / "a.py"))) == 1


def test_a_setting_that_is_off_is_no_offence(tmp_path: Path):
    (tmp_path / "a.py").write_text(
        "np.load(file, allow_pickle=False)\nre.compile(text)\nimportlib.import_module('gguf')"
    )
    assert not list(offences(tmp_path / "a.py"))


def test_the_page_on_security_names_tests_that_exist():
    words = (CHECKOUT / "SECURITY.md").read_text().split("`")
    named = [word for word in words if word.startswith("tests/")]
    assert len(named) > 15 and all((CHECKOUT / word).exists() for word in named), named
