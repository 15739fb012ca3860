"""Jobs judged: every test of a program in a process of its own, up to the first that fails."""

import asyncio
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace

from reasoning.core.text import printable, shortened
from reasoning.sandbox.comparing import output_fault, result_fault
from reasoning.sandbox.launching import Program, packaged, python_command, sealed
from reasoning.sandbox.records import Call, Grade, Job, Limits, Script, Stdio, Test, Verdict
from reasoning.sandbox.running import Outcome, Slots, run
from reasoning.sandbox.tiers import compiler

_COMPILING = Limits(cpu_seconds=20.0, wall_seconds=60.0, memory_mib=2048, output_kib=1024, storage_mib=64)
_COMPILE = ("-std=c++17", "-O1", "-pipe", "-w")
_ERRORS = 1 << 18
_RESULT = 4
_DETAIL = 200
_CAUSES: Mapping[str, tuple[Verdict, str]] = {
    "cpu": ("timed_out", "more CPU time than the limit"),
    "wall": ("timed_out", "more time by the wall clock than the limit"),
    "output": ("too_much_output", "more output than the limit"),
    "threads": ("crashed", "too many threads"),
    "storage": ("crashed", "more storage than the limit"),
}
_OUT_OF_MEMORY = ("MemoryError", "std::bad_alloc", "Cannot allocate memory")


@dataclass(frozen=True)
class _Judged:
    """What came of one test, or of compiling."""

    verdict: Verdict
    detail: str
    cpu_seconds: float
    wall_kills: int


async def judge(job: Job, slots: Slots) -> Grade:
    """The grade of a program. A test that the wall clock ended is run once more, since a busy machine may be why."""
    if job.language == "python":
        return await _all_tested(job, -1, slots)
    executable, compiling = await _compiled(job.source, slots)
    spent = (compiling.cpu_seconds, compiling.wall_kills)
    if executable < 0:
        return Grade(compiling.verdict, None, 0, compiling.detail, *spent, slots.tier.name)
    try:
        grade = await _all_tested(job, executable, slots)
    finally:
        os.close(executable)
    return replace(grade, cpu_seconds=grade.cpu_seconds + spent[0], wall_kills=grade.wall_kills + spent[1])


async def _all_tested(job: Job, executable: int, slots: Slots) -> Grade:
    cpu_seconds, wall_kills = 0.0, 0
    for place, test in enumerate(job.tests):
        judged = await _tested(job, test, executable, slots)
        cpu_seconds, wall_kills = cpu_seconds + judged.cpu_seconds, wall_kills + judged.wall_kills
        if judged.wall_kills:
            judged = await _tested(job, test, executable, slots)
            cpu_seconds, wall_kills = cpu_seconds + judged.cpu_seconds, wall_kills + judged.wall_kills
        if judged.verdict != "passed":
            return Grade(judged.verdict, place, place, judged.detail, cpu_seconds, wall_kills, slots.tier.name)
    return Grade("passed", None, len(job.tests), "", cpu_seconds, wall_kills, slots.tier.name)


async def _tested(job: Job, test: Test, executable: int, slots: Slots) -> _Judged:
    if isinstance(test, Script):
        return await _by_script(job, test, slots)
    if isinstance(test, Call):
        given = packaged("call", job.source, test.function, test.arguments)
        outcome = await _python(given, job.limits, slots, result=True)
        return _judged(outcome, job.limits, result_fault(outcome.streams[_RESULT], test.result, test.tolerance))
    outcome = await _by_stdio(job, test, executable, slots)
    return _judged(outcome, job.limits, output_fault(outcome.streams[1], test.output, test.tolerance))


async def _by_stdio(job: Job, test: Stdio, executable: int, slots: Slots) -> Outcome:
    given = test.input.encode("utf-8", "surrogatepass")
    if executable < 0:
        return await _python(packaged("program", job.source), job.limits, slots, given)
    stdin = sealed(given)

    def program(outputs: Mapping[int, int]) -> Program:
        return Program((), {0: stdin, **outputs}, job.limits, executable)

    return await run(program, _outputs(job.limits), slots, [stdin])


async def _python(package: int, limits: Limits, slots: Slots, stdin: bytes = b"", result: bool = False) -> Outcome:
    given = sealed(stdin)

    def program(outputs: Mapping[int, int]) -> Program:
        return Program(python_command(slots.tier.python), {0: given, 3: package, **outputs}, limits)

    outputs = _outputs(limits) | ({_RESULT: limits.output_kib * 1024} if result else {})
    return await run(program, outputs, slots, [given, package])


def _outputs(limits: Limits) -> dict[int, int]:
    return {1: limits.output_kib * 1024, 2: max(_ERRORS, limits.output_kib * 1024)}


async def _by_script(job: Job, test: Script, slots: Slots) -> _Judged:
    word = secrets.token_hex(16)
    requests, ask = os.pipe2(os.O_CLOEXEC)
    replies, reply = os.pipe2(os.O_CLOEXEC)
    answering, asserting = sealed(b""), sealed(b"")
    answer = packaged("server", job.source)
    script = packaged("script", test.setup, test.script, list(test.names), word)
    python = python_command(slots.tier.python)

    def answer_program(outputs: Mapping[int, int]) -> Program:
        return Program(python, {0: answering, 3: answer, 4: reply, 5: requests, **outputs}, job.limits)

    def script_program(outputs: Mapping[int, int]) -> Program:
        return Program(python, {0: asserting, 3: script, 5: replies, 6: ask, **outputs}, job.limits)

    outputs = _outputs(job.limits)
    answered, asserted = await asyncio.gather(
        run(answer_program, outputs, slots, [answering, answer, reply, requests]),
        run(script_program, {**outputs, _RESULT: 1024}, slots, [asserting, script, replies, ask]),
    )
    proved = asserted.streams[_RESULT] == word.encode()
    first = _judged(answered, job.limits, "")
    second = _judged(asserted, job.limits, "" if proved else "the assertions did not all run")
    if second.verdict == "crashed" and second.detail.startswith("AssertionError"):
        second = replace(second, verdict="wrong")
    worse = first if first.verdict != "passed" else second
    used = first.cpu_seconds + second.cpu_seconds
    return replace(worse, cpu_seconds=used, wall_kills=max(first.wall_kills, second.wall_kills))


def _judged(outcome: Outcome, limits: Limits, fault: str) -> _Judged:
    """The verdict of one process: its end first, then what it wrote, of which ``fault`` says what is wrong."""
    verdict, detail = _end(outcome, limits)
    if verdict == "passed" and fault:
        verdict, detail = "wrong", fault
    return _Judged(verdict, shortened(printable(detail), _DETAIL), outcome.cpu_seconds, int(outcome.cause == "wall"))


def _end(outcome: Outcome, limits: Limits) -> tuple[Verdict, str]:
    if outcome.fault:
        return "infrastructure", outcome.fault
    if outcome.cause:
        return _CAUSES[outcome.cause]
    if outcome.code == 0:
        return "passed", ""
    said = outcome.streams[2].decode("utf-8", "replace").strip().rsplit("\n", 1)[-1]
    if outcome.code in (-9, -24) and outcome.cpu_seconds > limits.cpu_seconds:
        return _CAUSES["cpu"]
    if outcome.code == -9 or any(words in said for words in _OUT_OF_MEMORY):
        return "out_of_memory", said or "killed"
    return "crashed", said or (f"exit code {outcome.code}" if outcome.code > 0 else f"signal {-outcome.code}")


async def _compiled(source: str, slots: Slots) -> tuple[int, _Judged]:
    """A descriptor of the compiled program, -1 where it doesn't compile, and what compiling came to."""
    package = packaged("compiler", source, [compiler(), *_COMPILE])
    given = sealed(b"")

    def program(outputs: Mapping[int, int]) -> Program:
        return Program(python_command(slots.tier.python), {0: given, 3: package, **outputs}, _COMPILING, compiler=True)

    limits = replace(_COMPILING, output_kib=_COMPILING.storage_mib * 1024)
    outcome = await run(program, {**_outputs(_COMPILING), _RESULT: limits.output_kib * 1024}, slots, [given, package])
    judged = _judged(outcome, _COMPILING, "")
    if judged.verdict == "passed":
        return sealed(outcome.streams[_RESULT]), judged
    if judged.verdict == "infrastructure":
        return -1, judged
    lines = outcome.streams[2].decode("utf-8", "replace").splitlines()
    detail = next((line for line in lines if "error:" in line), judged.detail)
    return -1, replace(judged, verdict="compile_error", detail=shortened(printable(detail), _DETAIL))
