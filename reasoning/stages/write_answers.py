"""Problems with their right answers as conversations: training data for questions that need no thinking."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path

import jax

from reasoning.core.artifact import Artifact, Outcome
from reasoning.core.errors import InputError
from reasoning.core.mesh import wait_for_all
from reasoning.data.chat.format import ChatFormat
from reasoning.stages.checkpoint import tokenizer_of
from reasoning.stages.conversations import write_conversations
from reasoning.stages.stage import Context, Stage
from reasoning.tasks.problems import Problem, ProblemSet


@dataclass(frozen=True, kw_only=True)
class WriteAnswers:
    """Writes each problem's question and its answer between the answer tags, without thinking.

    The non-reasoning part of R1's fine-tuning data (DeepSeek-R1, arXiv 2501.12948, section 2.3.3). With ``shares`` it
    writes each of a problem's answers once, which weighs its share: the loss is then the cross-entropy of soft labels,
    such as how many of several people chose which (Peterson et al. 2019, arXiv 1908.07086).
    """

    name: str = ""
    problems: ProblemSet
    tokenizer: Stage  # a stage that has the tokenizer which the data will be read with
    chat: ChatFormat = ChatFormat()
    shares: str = ""  # the column of problems with a number by answer; empty: the right answer alone

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Outcome:
        """Writes the conversations; process 0 does the work."""
        tokenizer, problems = tokenizer_of(inputs["tokenizer"]), self.problems.problems()
        rows = [
            {
                "prompt": problem.question,
                "completion": f"{self.chat.answer_open}{answer}{self.chat.answer_close}",
                "answer": answer,
                "kind": problem.kind,
                **({"loss_weight": share} if self.shares else {}),
            }
            for problem in problems
            for answer, share in self._answers(problem).items()
        ]
        tokenizer.encode_batch([row["prompt"] + row["completion"] for row in rows])
        if jax.process_index() == 0:
            tokenizer.save(out)
            write_conversations(out, rows, weighed=bool(self.shares))
        wait_for_all(self.name)
        return Outcome("records", {"kept": len(rows)})

    def _answers(self, problem: Problem) -> dict[str, float]:
        """What is learnt of a problem, with what it weighs; together 1."""
        if not self.shares:
            return {problem.answer: 1.0}
        given = problem.columns.get(self.shares)
        shares = given if isinstance(given, Mapping) else {}
        numbers = [share for share in shares.values() if isinstance(share, int | float) and 0 <= share < inf]
        if len(numbers) < len(shares) or not sum(numbers) > 0:
            raise InputError(
                f"stage {self.name}: the problem {problem.question!r:.60} has {given!r:.80} in its column "
                f"{self.shares!r}; it must be an object that gives each answer a number, of which one is above 0"
            )
        return {str(answer): share / sum(numbers) for answer, share in shares.items() if share > 0}

    def plan(self) -> dict[str, object]:
        """Sizes for ``run --check``."""
        return {"conversations": self.problems.count}
