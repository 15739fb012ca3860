"""The hostile programs of ``tests/sandbox/hostile``, by name, with the tests that each must not pass.

A file holds many programs. Each begins with a line ``== name form``, where the form says what is asked of it
(``TESTS``); ``cpp`` is its language, ``hang`` says that it only ends at its limits, and ``=verdict`` which verdict it
must get. Words between ``@`` are places outside the sandbox, which whoever runs the programs fills in.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reasoning.sandbox.records import Call, Language, Script, Stdio, Test

PROGRAMS = Path(__file__).parent.parent / "tests" / "sandbox" / "hostile"

ADD_SCRIPT = """
def check(candidate):
    assert candidate(20, 22) == 42
    assert candidate(-3, 5) == 2
    assert candidate(1000, 1) == 1001

check(add)
"""
PAIRS_SCRIPT = """
def check(candidate):
    assert candidate(2) == [[0, 1], [1, 2]]
    assert candidate(0) == []

check(pairs)
"""

TESTS: Mapping[str, Sequence[Test]] = {
    "": (Stdio("20 22\n", "what no program prints\n"),),
    "escape": (Stdio("", "escaped\n"),),
    "secret": (Stdio("", "@TOKEN@\n"),),
    "sum": (Stdio("20 22\n", "42\n"),),
    "lines": (Stdio("20 22\n", "42\n-2\n440\n"),),
    "tolerant": (Stdio("20 22\n", "0.25\n", tolerance=1e-3),),
    "add-call": (Call("add", [20, 22], 42), Call("add", [-3, 5], 2), Call("add", [1000, 1], 1001)),
    "add-script": (Script(ADD_SCRIPT, ["add"]),),
    "pairs-call": (Call("pairs", [2], [[0, 1], [1, 2]]), Call("pairs", [0], [])),
    "pairs-script": (Script(PAIRS_SCRIPT, ["pairs"]),),
}
BOTH = {"add": ("add-call", "add-script"), "pairs": ("pairs-call", "pairs-script")}


@dataclass(frozen=True)
class Attack:
    """A hostile program: ``form`` names its tests, ``hangs`` says that only a limit ends it."""

    name: str
    family: str
    form: str
    source: str
    language: Language
    hangs: bool
    verdict: str | None


def read_attacks(family: str = "*") -> list[Attack]:
    """The programs of the files whose names fit ``family``; one that attacks two forms of tests comes twice."""
    return [attack for path in sorted(PROGRAMS.glob(f"{family}.txt")) for attack in _read(path)]


def _read(path: Path) -> Iterator[Attack]:
    for head, source in re.findall(r"^== (.*)\n((?:(?!== ).*\n)*)", path.read_text(), re.MULTILINE):
        name, *words = head.split()
        verdict = next((word[1:] for word in words if word.startswith("=")), None)
        forms = [word for word in words if word not in ("cpp", "hang") and not word.startswith("=")]
        both = BOTH.get("".join(forms), ("".join(forms),))
        for form in both:
            yield Attack(
                name=name if len(both) == 1 else f"{name}-{form.partition('-')[2]}",
                family=path.stem,
                form=form,
                source=source.replace("@ZERO@", "\0"),
                language="cpp" if "cpp" in words else "python",
                hangs="hang" in words,
                verdict=verdict,
            )


def filled(text: str, places: Mapping[str, str]) -> str:
    """The text with its words between ``@`` replaced."""
    return re.sub(r"@([A-Z]+)@", lambda found: places[found[1]], text)


def asked(attack: Attack, places: Mapping[str, str]) -> Sequence[Test]:
    """The tests of the attack's form, with the outside filled in."""
    return [
        Stdio(test.input, filled(test.output, places), test.tolerance) if isinstance(test, Stdio) else test
        for test in TESTS[attack.form]
    ]
