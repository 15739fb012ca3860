"""Coding problems in rows of files and data sets: tests as objects, or as assertions, as MBPP has them."""

import ast
import builtins
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

from reasoning.core.errors import InputError
from reasoning.sandbox.records import Language, read_tests
from reasoning.tasks.problems import Problem, json_like
from reasoning.tasks.question_files import QuestionColumns, refused

_EXAMPLES, _LANGUAGE, _ANSWER = "examples", "language", "answer"


@dataclass(frozen=True, kw_only=True)
class CodeColumns:
    """Which columns hold a coding problem, for ``question_files.QuestionFile`` and ``QuestionRecords``.

    ``tests`` are a list of objects (``sandbox.records.read_tests``), or of texts, Python assertions on what the
    answer defines, which become one test with the columns ``setup`` before them. Problems get columns ``tests`` and
    ``solution`` whatever theirs are called, and all others as they are. The answer is the column of that name, else the
    solution. Tests are read at once, and also ``examples``, where a row has such.
    """

    question: str = "question"
    tests: str = "tests"
    solution: str = "solution"  # a column of right programs; rows may be without
    setup: tuple[str, ...] = ()  # columns of Python that comes before assertions
    # The question, with {question}, {tests} (the assertions, a line each) and {names} (what they ask for).
    form: str = "{question}"
    left_out: tuple[str, ...] = ()  # columns that are of no use to rewards

    def __post_init__(self) -> None:
        if "{question}" not in self.form:
            raise InputError(f"form is {self.form!r:.60} without {{question}}, so that all questions would be the same")

    def problem(self, row: Mapping[str, Any], kind: str, where: str) -> Problem:
        """A row's problem.

        Raises InputError, beginning with ``where``, for one without question or tests, with a test that can't fail, in
        an unknown language, and with assertions of which can't be told what they ask the answer for.
        """
        try:
            columns = {n: json_like(value, partial(refused, n)) for n, value in row.items() if n not in self.left_out}
            return self._problem(columns, kind)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None

    def shared(
        self, train: Iterable[Mapping[str, Any]], test: Iterable[Mapping[str, Any]], train_name: str, test_name: str
    ) -> str:
        """How many of the questions of ``test`` are questions of ``train``, in a sentence; empty for none."""
        return QuestionColumns(question=self.question).shared(train, test, train_name, test_name)

    def _problem(self, columns: dict[str, Any], kind: str) -> Problem:
        taken = (self.question, self.tests, self.solution, *self.setup, _ANSWER)
        others = {name: value for name, value in columns.items() if name not in taken}
        if (language := columns.get(_LANGUAGE)) not in (None, "", *get_args(Language)):
            raise InputError(f"its language is {language!r:.40}; programs can be in {', '.join(get_args(Language))}")
        question, solution = _text(columns, self.question, needed=True), _text(columns, self.solution)
        told = {"question": question, "tests": "", "names": ""}
        tests = columns.get(self.tests)
        if isinstance(tests, Sequence) and tests and all(isinstance(each, str) for each in tests):
            if language not in (None, "", "python"):
                raise InputError(f"its tests are assertions in Python, and its language is {language}")
            script = "\n".join(tests)
            tests = [_script(script, "\n".join(self._setup(columns)), solution)]
            told |= {"tests": script, "names": ", ".join(tests[0]["names"])}
        read_tests(tests)
        if others.get(_EXAMPLES) is not None:
            read_tests(others[_EXAMPLES])
        for name, text in told.items():
            if not text and f"{{{name}}}" in self.form:
                raise InputError(f"the form of the question wants {{{name}}}, and its tests are no assertions")
        asked = re.sub(f"{{({'|'.join(told)})}}", lambda found: told[found[1]], self.form)
        own = {"tests": tests} | ({"solution": solution} if solution else {})
        return Problem(asked.strip(), _text(columns, _ANSWER) or solution, kind, others | own)

    def _setup(self, columns: Mapping[str, Any]) -> list[str]:
        """The lines before assertions, of columns of a text or of a list of texts."""
        lines = [columns[name] for name in self.setup if columns.get(name)]
        texts = [line for each in lines for line in (each if isinstance(each, list) else [each])]
        if wrong := [text for text in texts if not isinstance(text, str)]:
            raise InputError(f"what comes before its assertions holds {wrong[0]!r:.60}, which is no text")
        return texts


MBPP = CodeColumns(
    question="text",
    tests="test_list",
    solution="code",
    setup=("test_setup_code",),
    form="{question}\nYour code should pass these tests:\n{tests}",
    left_out=("challenge_test_list",),
)
"""Program Synthesis with Large Language Models (arXiv 2108.07732): tests are shown, since they name the function."""

MBPP_SANITIZED = CodeColumns(
    question="prompt", tests="test_list", solution="code", setup=("test_imports",), form=MBPP.form
)
"""The part of MBPP that people have verified, with its own names of columns."""


def _text(columns: Mapping[str, Any], name: str, needed: bool = False) -> str:
    value = columns.get(name)
    if (needed or value is not None) and (not isinstance(value, str) or (needed and not value.strip())):
        raise InputError(f"column {name!r} is {value!r:.60}; it must be a text{', and not empty' if needed else ''}")
    return value or ""


def _script(asserted: str, before: str, solution: str) -> dict[str, Any]:
    """The test of assertions, with the names of the answer that they use, and modules that nobody has imported.

    What comes before them runs where the answer isn't known, unless it uses the answer itself.
    """
    used, roots, bound = _names(f"{before}\n{asserted}", "its assertions")
    if not any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(asserted))):
        raise InputError(f"its tests {asserted!r:.60} assert nothing, so that any program would pass")
    defined = _defined(solution)
    modules = {name for name in roots - bound - used if name in sys.stdlib_module_names}
    free = (used | roots) - bound - modules
    names = sorted(name for name in free if name in defined or not hasattr(builtins, name))
    if not names:
        raise InputError(f"its assertions {asserted!r:.60} use no name that an answer could define")
    if defined and (unknown := [name for name in names if name not in defined]):
        raise InputError(f"its assertions use {', '.join(unknown)}, which its solution doesn't define")
    imports = "".join(f"import {name}\n" for name in sorted(modules))
    used_before, roots_before, _ = _names(before, "what comes before its assertions")
    if {*names} & (used_before | roots_before):
        return {"script": f"{before}\n{asserted}\n", "names": names, "setup": imports}
    return {"script": f"{asserted}\n", "names": names, "setup": imports + before}


def _names(text: str, what: str) -> tuple[set[str], set[str], set[str]]:
    """Names that a program uses, those of them that it only takes attributes of, and names that it binds itself."""
    tree = _tree(text, what)
    roots = [node.value for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    rooted = {id(node) for node in roots}
    loads = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
    used = {node.id for node in loads if id(node) not in rooted}
    return used, {node.id for node in loads if id(node) in rooted} - used, _bound(ast.walk(tree))


def _bound(nodes: Iterable[ast.AST]) -> set[str]:
    bound: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).partition(".")[0])
    return bound


def _defined(solution: str) -> set[str]:
    """What a solution defines, wherever; nothing is known of one with ``import *``, nor of one that is no Python."""
    try:
        bound = _bound(ast.walk(ast.parse(solution)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    return set() if "*" in bound else bound


def _tree(text: str, what: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{what}, {text.strip()!r:.60}, are no Python ({error})") from None
