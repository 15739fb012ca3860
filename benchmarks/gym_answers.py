"""Which generators of reasoning-gym have one right answer as text: every one of them is tried, and a table printed.

    pip install 'reasoning-jax[tasks]'        (a C compiler is needed)
    python benchmarks/gym_answers.py

A generator is *one answer* where its own scorer compares with the stored answer, and *many answers* where the scorer
works out whether a reply is right, so that comparing texts would call right replies wrong. *No text* has questions
without an answer as text. *Unstable* gives other items for the same seed in another process, or its own scorer doesn't
call its own answer right. *Failed* raises, or takes more than a minute for twenty items.
"""

import inspect
import json
import signal
import subprocess
import sys

from reasoning.core.errors import InputError
from reasoning.rewards.math import Math
from reasoning.tasks.answers import number_value
from reasoning.tasks.problems import Problem

ITEMS, SECONDS = 20, 60
MARK = "tried: "


def tried(name: str) -> dict:
    """What one generator gives: questions and answers of a seed, and what its scorer is."""
    import reasoning_gym
    from reasoning_gym.dataset import ProceduralDataset

    dataset = reasoning_gym.create_dataset(name, seed=12345, size=ITEMS)
    entries = [dataset[at] for at in range(ITEMS)]
    texts = [[entry["question"], entry["answer"]] for entry in entries]
    if not all(isinstance(answer, str) and answer.strip() for _, answer in texts):
        return {"kind": "no text", "texts": []}
    own = type(dataset).score_answer is not ProceduralDataset.score_answer
    source = inspect.getsource(type(dataset).score_answer) if own else "['answer']"
    compares = "answer'" in source.replace('"', "'").replace("metadata['answer", "")
    scores = [float(dataset.score_answer(entry["answer"], entry)) for entry in entries]
    kind = "one answer" if compares else "many answers"
    return {"kind": kind if min(scores) >= 1 else "unstable", "texts": texts}


def answers_kind(texts: list[list[str]]) -> str:
    """How the answers can be compared."""
    answers = [answer for _, answer in texts]
    if all(number_value(answer) is not None for answer in answers):
        return "number"
    if any("\n" in answer.strip() for answer in answers):
        return "lines"
    try:
        Math().check([Problem(question, answer, "gym") for question, answer in texts])
    except InputError:
        return "text"
    return "text, or Math" if any(any(map(str.isdigit, answer)) for answer in answers) else "text"


def all_tried() -> dict[str, dict]:
    """``tried`` of every generator, in a process of its own, whose hashes of texts are others each time."""
    done = subprocess.run([sys.executable, __file__, "--try"], capture_output=True, text=True, check=True)
    told = [line.removeprefix(MARK) for line in done.stdout.split("\n") if line.startswith(MARK)]
    return dict(json.loads(line) for line in told)


def try_all() -> None:
    """Prints a line for each generator; some print too."""
    from reasoning_gym.factory import DATASETS

    def too_long(signum: int, frame: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, too_long)
    for name in sorted(DATASETS):
        signal.alarm(SECONDS)
        try:
            found = tried(name)
        except Exception as error:
            found = {"kind": "failed", "texts": [], "error": type(error).__name__}
        signal.alarm(0)
        print(f"\n{MARK}{json.dumps([name, found])}", flush=True)
        print(f"{name}: {found['kind']}", file=sys.stderr)


def main() -> None:
    found: dict[tuple[str, str], list[str]] = {}
    first, second = all_tried(), all_tried()
    for name, one in first.items():
        kind = one["kind"] if one == second[name] else "unstable"
        told = answers_kind(one["texts"]) if kind in ("one answer", "many answers") else ""
        found.setdefault((kind, told), []).append(name)
    for (kind, told), names in sorted(found.items()):
        print(f"| {kind} | {told} | {len(names)} | {', '.join(names)} |")


if __name__ == "__main__":
    try_all() if "--try" in sys.argv else main()
