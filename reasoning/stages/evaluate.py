"""Evaluation: held-out problems asked greedily and sampled, scored, with intervals clustered by problem."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np

from reasoning.core.artifact import Artifact, Outcome, Stage
from reasoning.core.errors import InputError
from reasoning.core.files import read_json, write_atomic
from reasoning.core.mesh import wait_for_all
from reasoning.core.prng import stage_key
from reasoning.core.progress import Progress
from reasoning.core.ranges import Range
from reasoning.core.statistics import Interval, mean_over_problems, mean_with_interval, pass_at_k
from reasoning.stages.context import Context
from reasoning.stages.exam import Answers, Exam, ask, exam_engine
from reasoning.stages.rating import reward_name
from reasoning.stages.saved import model_of, params_of, tokenizer_of
from reasoning.training.preemption import Interrupted


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Asks each checkpoint the exam's problems; the same problems, so that checkpoints compare pair by pair.

    Each score is given for greedy replies, as pass@1 (the mean over all samples), and as unbiased pass@k for ``ks``.
    """

    name: str = ""
    checkpoints: tuple[Stage, ...]
    exam: Exam
    ks: tuple[Annotated[int, Range(minimum=2)], ...] = ()

    def __post_init__(self) -> None:
        too_large = [k for k in self.ks if k > self.exam.samples]
        if too_large:
            raise InputError(
                f"pass@{too_large[0]} can't be estimated from {self.exam.samples} samples a problem; "
                f"raise the exam's samples or drop it from ks"
            )
        if self.exam.problems.count < 2:
            raise InputError("an exam of 1 problem has no interval; ask at least 2")

    def run(self, inputs: Mapping[str, Any], out: Path, context: Context) -> Outcome:
        """Examines every checkpoint that an earlier, interrupted run hasn't examined yet."""
        parts = out / "parts"
        parts.mkdir(exist_ok=True)
        artifacts: tuple[Artifact, ...] = inputs["checkpoints"]
        for number, artifact in enumerate(artifacts):
            file = parts / f"{artifact.stage}.json"
            if not file.exists():
                part = self.examine(artifact, context)
                if jax.process_index() == 0:
                    write_atomic(file, json.dumps(part))
                wait_for_all(str(file))
            context.report(Progress(self.name, number + 1, len(artifacts), {}))
            signal = context.stop(number + 1)
            if signal is not None and number + 1 < len(artifacts):
                raise Interrupted(signal)
        return self.finish(out, [read_json(parts / f"{artifact.stage}.json") for artifact in artifacts], artifacts)

    def examine(self, artifact: Artifact, context: Context) -> dict[str, Any]:
        """One checkpoint's scores and replies."""
        exam, mesh, tokenizer = self.exam, context.mesh, tokenizer_of(artifact)
        model = model_of(artifact, mesh)
        params = params_of(artifact, model, mesh)
        key = stage_key(context.seed, f"{self.name}/{artifact.stage}")
        answers = []
        for samples, temperature in ((1, 0.0), (exam.samples, exam.temperature)):
            engine = exam_engine(exam, model, mesh, tokenizer, samples)
            answers.append(ask(exam, engine, engine.publish(params), tokenizer, key, temperature))
        greedy, sampled = answers
        return {"scores": self.tabulate(greedy, sampled), "samples": self.rows(artifact.stage, greedy, sampled)}

    def tabulate(self, greedy: Answers, sampled: Answers) -> dict[str, dict[str, float]]:
        """Every score of one checkpoint, with its interval."""
        samples, table = self.exam.samples, dict[str, Interval]()
        for name in (reward_name(score) for score in self.exam.scores):
            values_PS = sampled.scores[name]
            table[f"{name}/greedy"] = mean_over_problems(greedy.scores[name])
            table[f"{name}/pass@1"] = mean_over_problems(values_PS)
            for k in self.ks:
                right_P = np.round(values_PS).astype(int).sum(axis=1)
                table[f"{name}/pass@{k}"] = mean_over_problems(pass_at_k(right_P, samples, k))
        for name in (reward_name(rate) for rate in self.exam.rates):
            table[name] = mean_over_problems(sampled.scores[name])
        table["length"] = mean_with_interval(sampled.lengths.mean(axis=1))
        return {
            name: {"mean": value.mean, "low": value.low, "high": value.high, "n": value.count}
            for name, value in table.items()
        }

    def rows(self, checkpoint: str, greedy: Answers, sampled: Answers) -> list[dict[str, Any]]:
        """One line a problem for ``samples.jsonl``; from these lines every number of ``results.json`` can be found."""
        return [
            {
                "checkpoint": checkpoint,
                "problem": number,
                "question": problem.question,
                "answer": problem.answer,
                "kind": problem.kind,
                "greedy": greedy.texts[number][0],
                "samples": sampled.texts[number],
                "scores": {name: float(values[number, 0]) for name, values in greedy.scores.items()},
                "sample_scores": {name: values[number].tolist() for name, values in sampled.scores.items()},
                "sample_lengths": sampled.lengths[number].tolist(),
            }
            for number, problem in enumerate(self.exam.problems.problems())
        ]

    def finish(self, out: Path, parts: list[dict[str, Any]], artifacts: tuple[Artifact, ...]) -> Outcome:
        """Writes the table and the replies of all checkpoints, and gives the table's means."""
        scores = {artifact.stage: part["scores"] for artifact, part in zip(artifacts, parts, strict=True)}
        if jax.process_index() == 0:
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for part in parts for row in part["samples"]]
            write_atomic(out / "samples.jsonl", "".join(lines))
            write_atomic(out / "results.json", json.dumps({"checkpoints": scores}, indent=1) + "\n")
        means = {f"{stage}/{name}": value["mean"] for stage, table in scores.items() for name, value in table.items()}
        return Outcome("results", means)

    def plan(self) -> dict[str, object]:
        """Sizes for ``run --check``."""
        replies = len(self.checkpoints) * self.exam.problems.count * (self.exam.samples + 1)
        return {"replies": replies, "sampled tokens at most": replies * self.exam.max_new_tokens}
