"""Problems with their right answers as conversations: training data for questions that need no thinking."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jax

from reasoning.core.artifact import Artifact, Outcome
from reasoning.core.mesh import wait_for_all
from reasoning.data.chat.format import ChatFormat
from reasoning.stages.checkpoint import tokenizer_of
from reasoning.stages.conversations import write_conversations
from reasoning.stages.stage import Context, Stage
from reasoning.tasks.problems import ProblemSet


@dataclass(frozen=True, kw_only=True)
class WriteAnswers:
    """Writes each problem's question and its answer between the answer tags, without thinking.

    The non-reasoning part of R1's fine-tuning data (DeepSeek-R1, arXiv 2501.12948, section 2.3.3).
    """

    name: str = ""
    problems: ProblemSet
    tokenizer: Stage  # a stage that has the tokenizer which the data will be read with
    chat: ChatFormat = ChatFormat()

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Outcome:
        """Writes the conversations; process 0 does the work."""
        tokenizer, problems = tokenizer_of(inputs["tokenizer"]), self.problems.problems()
        rows = [
            {
                "prompt": problem.question,
                "completion": f"{self.chat.answer_open}{problem.answer}{self.chat.answer_close}",
                "answer": problem.answer,
                "kind": problem.kind,
            }
            for problem in problems
        ]
        tokenizer.encode_batch([row["prompt"] + row["completion"] for row in rows])
        if jax.process_index() == 0:
            tokenizer.save(out)
            write_conversations(out, rows)
        wait_for_all(self.name)
        return Outcome("records", {"kept": len(rows)})

    def plan(self) -> dict[str, object]:
        """Sizes for ``run --check``."""
        return {"conversations": self.problems.count}
