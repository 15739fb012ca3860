"""What is graded: a program and its tests, and what grading says of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from reasoning.core.errors import InputError

Language = Literal["python", "cpp"]

Verdict = Literal[
    "passed",
    "wrong",
    "crashed",
    "timed_out",
    "out_of_memory",
    "too_much_output",
    "compile_error",
    "refused",
    "invalid_problem",
    "infrastructure",
]

NOT_GRADED: tuple[Verdict, ...] = ("invalid_problem", "infrastructure")
"""Verdicts that say nothing of the program: a problem whose own solution fails, and a fault of the grader."""


@dataclass(frozen=True)
class Stdio:
    """A test by standard input and output: equal tokens, or numbers within ``tolerance`` (absolute or relative)."""

    input: str
    output: str
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if not self.output.split():
            raise InputError("a test expects no output at all, so that any silent program would pass; give its output")


@dataclass(frozen=True)
class Call:
    """A test by a call with JSON ``arguments``, whose ``result`` is compared as plain JSON (true is not 1).

    ``function`` is a function's name, or ``Class.method`` of a class that is made without arguments.
    """

    function: str
    arguments: Sequence[Any]
    result: Any
    tolerance: float = 0.0


@dataclass(frozen=True)
class Script:
    """A test by assertions, as HumanEval has them: ``script`` runs where the program can't reach it.

    ``names`` are the program's functions that it calls. ``setup`` is trusted code before it: helpers that the
    problem's own text defines.
    """

    script: str
    names: Sequence[str]
    setup: str = ""

    def __post_init__(self) -> None:
        if not self.script.strip() or not self.names:
            raise InputError("a test by assertions has no script, or names no function of the answer; give both")


Test = Stdio | Call | Script

_FORMS = (
    (Stdio, {"input", "output"}),
    (Call, {"function", "arguments", "result"}),
    (Script, {"script", "names"}),
)


@dataclass(frozen=True)
class Limits:
    """What one test of a program may use. CPU time decides, so that a busy machine changes no verdict."""

    cpu_seconds: float = 4.0
    wall_seconds: float = 12.0
    memory_mib: int = 512
    output_kib: int = 1024
    storage_mib: int = 16


@dataclass(frozen=True)
class Job:
    """A program and the tests that it must all pass, one process a test."""

    source: str
    tests: Sequence[Test]
    language: Language = "python"
    limits: Limits = Limits()


@dataclass(frozen=True)
class Grade:
    """What came of a job: the ``verdict`` of its first failing test, or ``passed``.

    ``failing`` is that test's index (None: passed, or no test was reached), ``passed`` how many passed before it,
    ``detail`` one shortened line of why, ``wall_kills`` how many processes the wall clock ended, and ``tier`` the
    isolation that it ran in.
    """

    verdict: Verdict
    failing: int | None = None
    passed: int = 0
    detail: str = ""
    cpu_seconds: float = 0.0
    wall_kills: int = 0
    tier: str = ""


def read_tests(column: Any) -> tuple[Test, ...]:
    """The tests of a problem from its column, a list of objects with the fields of ``Stdio``, ``Call`` or ``Script``.

    Raises InputError for no tests at all, for an object of none of these forms, and for a test that can't fail.
    """
    if not isinstance(column, Sequence) or isinstance(column, str) or not column:
        raise InputError(f"tests are {column!r:.60}; give a list of at least one test")
    return tuple(_test(entry, place) for place, entry in enumerate(column))


def _test(entry: Any, place: int) -> Test:
    if isinstance(entry, Mapping):
        for form, needed in _FORMS:
            fields = set(form.__dataclass_fields__)
            if needed <= set(entry) <= fields:
                return form(**entry)
    forms = "; or ".join(", ".join(sorted(needed)) for _, needed in _FORMS)
    raise InputError(f"test {place} is {entry!r:.60}; a test has the fields {forms}")
