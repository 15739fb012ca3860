"""The procedural generators of the reasoning-gym package (an extra) as tasks, with exact answers.

The package's own scorers give part marks ("154" for "54" scores 0.67), so only its questions and answers are used.
"""

import difflib
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from types import ModuleType
from typing import Any

from reasoning.core.errors import InputError
from reasoning.tasks.problems import Problem, json_like, take_distinct
from reasoning.tasks.splits import Split, split_of

# The package makes item i of seed s from s + i, so seeds next to each other share nearly all items. Ours are hashed
# instead, a new one for each chunk; below 2**31 they stay valid for numpy, which some of its generators use.
_CHUNK = 500
_PATIENCE = 20
"""Chunks without a single new question after which a generator counts as exhausted."""

_OTHER_EACH_TIME = (
    "isomorphic_strings",
    "knight_swap",
    "list_functions",
    "polynomial_multiplication",
    "ransom_note",
    "word_ladder",
)
"""Generators of 0.1.25 that go through sets of texts, whose order is another in every process: one seed gives other
questions or answers each time (``benchmarks/gym_answers.py`` finds them)."""


@dataclass(frozen=True)
class ReasoningGym:
    """One generator, ``ReasoningGym('chain_sum', {'max_terms': 3})``; its settings are the package's own.

    What the package says of a question beside that is the problem's column ``metadata``.
    Answers are compared exactly, so choose generators whose questions have one right answer (chain_sum, gcd,
    leg_counting); docs/tasks.md lists them. Of those that accept many, ``rewards.expressions`` judges countdown and
    puzzle24.
    """

    generator: str
    settings: Mapping[str, object] = field(default_factory=dict)

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        """``count`` problems of ``split`` (contract: ``tasks.problems.Task``).

        Raises InputError where the package is missing, the generator or a setting is unknown, the generator stores
        no answer, or it has run out of new questions.
        """
        return take_distinct(self._stream(split, seed), split, count, f"reasoning-gym's {self.generator}")

    def _stream(self, split: Split, seed: int) -> Iterator[Problem]:
        package = _package()
        seen: set[str] = set()
        chunk = since_new = 0
        while since_new < _PATIENCE:
            since_new += 1
            for entry in self._entries(package, seed, chunk):
                question, answer = self._texts(entry)
                if question not in seen and split_of(question) == split:
                    seen.add(question)
                    since_new = 0
                    metadata = json_like(entry.get("metadata", {}), str)
                    yield Problem(question, answer, self.generator, {"metadata": metadata})
            chunk += 1

    def _entries(self, package: ModuleType, seed: int, chunk: int) -> Iterator[Mapping[str, Any]]:
        names = sorted(package.factory.DATASETS)
        if self.generator not in names:
            near = difflib.get_close_matches(self.generator, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names)}"
            raise InputError(f"reasoning-gym has no generator {self.generator!r}; {hint}")
        if self.generator in _OTHER_EACH_TIME:
            raise InputError(
                f"reasoning-gym's {self.generator} gives other questions or answers in every process for the same "
                "seed, so that no run could be repeated; choose another generator"
            )
        taken = sorted({"seed", "size"} & set(self.settings))
        if taken:
            raise InputError(f"{self._where()} sets {', '.join(taken)}, which the problem set decides; leave it out")
        digest = blake2b(f"{seed}/{chunk}".encode(), digest_size=4).digest()
        number = int.from_bytes(digest, "big") % 2**31
        try:
            dataset = package.create_dataset(self.generator, seed=number, size=_CHUNK, **self.settings)
        except (TypeError, ValueError, AssertionError) as error:
            raise InputError(f"{self._where()} is refused by the package: {error}; change its settings") from error
        return (dataset[index] for index in range(_CHUNK))

    def _texts(self, entry: Mapping[str, Any]) -> tuple[str, str]:
        question, answer = entry["question"], entry["answer"]
        if not isinstance(question, str) or not isinstance(answer, str) or not answer.strip():
            raise InputError(
                f"{self._where()} makes a question with the answer {answer!r}, which can't be compared; "
                "choose a generator with one right answer as text"
            )
        return question, answer

    def _where(self) -> str:
        return f"reasoning-gym's {self.generator} with the settings {dict(self.settings)}"


def _package() -> ModuleType:
    try:
        importlib.import_module("reasoning_gym.factory")
        return importlib.import_module("reasoning_gym")
    except ImportError as error:
        raise InputError(
            f"the task ReasoningGym needs the package reasoning-gym ({error}); pip install 'reasoning-jax[tasks]'"
        ) from error
