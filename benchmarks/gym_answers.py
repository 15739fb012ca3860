"""Which generators of reasoning-gym have one right answer as text: every one of them is tried, and a table printed.

    pip install 'reasoning-jax[tasks]'        (a C compiler is needed)
    python benchmarks/gym_answers.py

A generator is *one answer* where its own scorer compares with the stored answer, and *many answers* where the scorer
works out whether a reply is right, so that comparing texts would call right replies wrong. *No text* has questions
without an answer as text. *Unstable* gives other items for the same seed in another process, or its own scorer doesn't
call its own answer right. *Failed* raises, or takes more than a minute for
twenty items. Each runs in a process of its own.
"""

import inspect
import json
import subprocess
import sys

from reasoning.core.errors import InputError
from reasoning.rewards.math import Math
from reasoning.tasks.answers import number_value
from reasoning.tasks.problems import Problem
from reasoning.tasks.reasoning_gym import ReasoningGym

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


def in_process(name: str) -> dict:
    """``tried`` in a process of its own."""
    try:
        command = [sys.executable, __file__, name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return {"kind": "failed", "texts": []}
    told = [line for line in done.stdout.split("\n") if line.startswith(MARK)]  # some generators print
    return json.loads(told[-1].removeprefix(MARK)) if told else {"kind": "failed", "texts": []}


def main() -> None:
    from reasoning_gym.factory import DATASETS

    found: dict[tuple[str, str], list[str]] = {}
    for name in sorted(DATASETS):
        first, second = in_process(name), in_process(name)
        kind = first["kind"] if first == second else "unstable"
        told = answers_kind(first["texts"]) if kind in ("one answer", "many answers") else ""
        if kind == "one answer":
            try:
                ReasoningGym(name).problems("test", 4, 0)
            except InputError as error:
                kind, told = "failed", str(error)[:80]
        found.setdefault((kind, told), []).append(name)
        print(f"{name}: {kind} {told}", file=sys.stderr)
    for (kind, told), names in sorted(found.items()):
        print(f"| {kind} | {told} | {', '.join(names)} |")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(f"\n{MARK}{json.dumps(tried(sys.argv[1]))}")
    else:
        main()
