r"""The process that asks math-verify: one question a line, one answer a line; run by its path, alone, without JAX.

A question is ``[right, given]``, two expressions in LaTeX; the answer is ``true``, ``false``, ``"memory"`` or, for what
can't be parsed, ``"unreadable"``. The first line says ``"ready"``. math-verify's yes counts only where numbers agree:
at random places both expressions have the same value to 30 digits. It calls equal what rounds alike (1/2^98 and
1/2^99), and parses what it can of the rest.

The arguments are the most seconds of processor time of a question, of memory in bytes, and the parent's process id. The
process is killed (SIGPROF) when a question takes longer, and when its parent dies; it ends when its questions do.
"""

import ctypes
import json
import os
import random
import resource
import signal
import sys
from typing import Any

_SIGNED_TO_DEATH = 1  # PR_SET_PDEATHSIG
_PLACES, _DIGITS = 4, 50


def main() -> None:
    """Answers questions from stdin until it ends."""
    seconds, memory, parent = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    ctypes.CDLL(None).prctl(_SIGNED_TO_DEATH, signal.SIGKILL)
    if os.getppid() != parent:
        return
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the libraries print isn't an answer
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    verdict_of("1", "1")  # the imports
    _say(answers, "ready")
    for line in sys.stdin:
        right, given = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, seconds)  # kills: nobody handles it
        try:
            verdict: bool | str = verdict_of(right, given)
        except (MemoryError, RecursionError):
            verdict = "memory"
        signal.setitimer(signal.ITIMER_PROF, 0)
        _say(answers, verdict)


def _say(answers: Any, verdict: bool | str) -> None:
    answers.write(json.dumps(verdict) + "\n")
    answers.flush()


def verdict_of(right: str, given: str) -> bool | str:
    """Whether two expressions in LaTeX are equal, or ``"unreadable"``."""
    import math_verify

    expressions = [_parsed(text) for text in (right, given)]
    if any(each is None for each in expressions):
        return "unreadable"
    equal = math_verify.verify(*expressions, timeout_seconds=0, float_rounding=15, numeric_precision=30)
    return equal and _agree(*expressions)


def _parsed(text: str) -> Any:
    r"""The SymPy expression of a text, whose decimals are exact; None where it is none."""
    import math_verify
    import sympy

    found = math_verify.parse(f"${text}$", [math_verify.LatexExtractionConfig()], "no_fallback", parsing_timeout=0)
    if len(found) != 1 or not isinstance(found[0], sympy.Expr):
        return None
    return found[0].xreplace({number: sympy.Rational(str(number)) for number in found[0].atoms(sympy.Float)})


def _agree(right: Any, given: Any) -> bool:
    """Whether two expressions have one value, to 30 digits, at each of a few places where both have one."""
    import sympy

    names = sorted({*right.free_symbols, *given.free_symbols}, key=str)
    draw = random.Random(0)
    difference, size = right - given, abs(right) + abs(given)
    seen = 0
    for _ in range(_PLACES * 4):
        place = {name: sympy.Rational(draw.randrange(1, 10**6), 10**6) * draw.choice((1, 2, 5)) for name in names}
        apart, scale = (sympy.N(each.subs(place).doit(), _DIGITS) for each in (difference, size))
        if not (apart.is_number and scale.is_number and apart.is_finite and scale.is_finite):
            continue
        if abs(apart) > abs(scale) * sympy.Float(10) ** -30:
            return False
        seen += 1
        if not names or seen == _PLACES:
            return True
    return False


if __name__ == "__main__":
    main()
