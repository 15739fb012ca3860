"""Evaluation: held-out problems asked greedily, sampled, searched and in other words, scored, with intervals."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
from jax.sharding import Mesh

from reasoning.core.artifact import Artifact, Outcome, Stage
from reasoning.core.errors import InputError
from reasoning.core.files import read_json, write_atomic
from reasoning.core.mesh import wait_for_all
from reasoning.core.prng import stage_key
from reasoning.core.progress import Progress
from reasoning.core.ranges import Count, Index, Range
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.evaluation.exam import Answers, Exam, Questions, ask, beam_engine, questions_of, sampling_engine
from reasoning.evaluation.tables import Replies, from_json, rows, tables, to_json
from reasoning.generation.prompts import PromptStyle
from reasoning.models.cache import Weights
from reasoning.models.model import Model
from reasoning.stages.context import Context
from reasoning.stages.saved import model_of, params_of, tokenizer_of
from reasoning.tasks.problems import Problem
from reasoning.training.preemption import Interrupted


@dataclass(frozen=True)
class Piece:
    """One way of asking all problems; the unit of work that an interruption can't lose."""

    name: str
    how: Literal["greedy", "beam", "sample"]
    style: PromptStyle
    samples: int


@dataclass(frozen=True)
class Candidate:
    """A checkpoint under examination."""

    stage: str
    tokenizer: Tokenizer
    model: Model
    weights: Weights
    questions: Mapping[str, Questions]  # by the style's name


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Asks each checkpoint the exam's problems; the same problems, so that checkpoints compare pair by pair.

    Each score is given for greedy replies, as pass@1 (the mean over all samples), as unbiased pass@k for ``ks``, for
    votes of N samples, each sample counting one (``majority@N``, arXiv 2203.11171) or as much as its probability
    (``weighted@N``), and for the best reply that a beam search finds (``beam@K``). A vote stands for its first sample
    with the winning answer; with fewer votes than samples, all disjoint groups of N samples vote, and are averaged.
    """

    name: str = ""
    checkpoints: tuple[Stage, ...]
    exam: Exam
    ks: tuple[Annotated[int, Range(minimum=2)], ...] = ()
    votes: tuple[Count, ...] = ()  # sizes N of votes
    beam: Index = 0  # beams K of a search (0: no search)
    prompts: tuple[PromptStyle, ...] = ()  # other styles in which the questions are put, too
    prompt_samples: Index = 0  # samples a problem in each of these (0: as many as the exam's)

    def __post_init__(self) -> None:
        for what, numbers in (("pass", self.ks), ("a vote", self.votes)):
            too_large = [number for number in numbers if number > self.exam.samples]
            if too_large:
                raise InputError(
                    f"{what}@{too_large[0]} can't be estimated from {self.exam.samples} samples a problem; "
                    f"raise the exam's samples or drop it"
                )
        names = [style.name for style in (self.exam.style, *self.prompts)]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise InputError(f"two prompt styles are named {', '.join(repeated)}, one of them the exam's; rename it")
        if self.exam.problems.count < 2:
            raise InputError("an exam of 1 problem has no interval; ask at least 2")

    def pieces(self) -> tuple[Piece, ...]:
        """What each checkpoint is asked, in order."""
        exam, further = self.exam, self.prompt_samples or self.exam.samples
        return (
            Piece("greedy", "greedy", exam.style, 1),
            Piece("samples", "sample", exam.style, exam.samples),
            *([Piece("beam", "beam", exam.style, 1)] if self.beam else []),
            *(Piece(f"prompt{n}", "sample", style, further) for n, style in enumerate(self.prompts)),
        )

    def run(self, inputs: Mapping[str, Any], out: Path, context: Context) -> Outcome:
        """Examines every checkpoint, piece by piece, as far as an earlier, interrupted run hasn't done it yet."""
        artifacts: tuple[Artifact, ...] = inputs["checkpoints"]
        pieces, problems = self.pieces(), self.exam.problems.problems()
        questions = {artifact.stage: self.questions(artifact, problems, context.mesh) for artifact in artifacts}
        (out / "parts").mkdir(exist_ok=True)
        work = [(artifact, piece) for artifact in artifacts for piece in pieces]
        candidate, tokens = None, 0
        for number, (artifact, piece) in enumerate(work, start=1):
            file = part_file(out, artifact, piece)
            if not file.exists():
                if candidate is None or candidate.stage != artifact.stage:
                    candidate = None  # Two checkpoints needn't fit into memory.
                    candidate = self.candidate(artifact, questions[artifact.stage], context.mesh)
                answers = self.examine(candidate, piece, context)
                tokens += int(answers.lengths.sum())
                if jax.process_index() == 0:
                    write_atomic(file, json.dumps(to_json(answers), ensure_ascii=False))
                wait_for_all(str(file))
            context.report(Progress(self.name, number, len(work), {}, tokens))
            signal = context.stop(number)
            if signal is not None and number < len(work):
                raise Interrupted(signal)
        return self.finish(out, artifacts, problems)

    def questions(self, artifact: Artifact, problems: tuple[Problem, ...], mesh: Mesh) -> dict[str, Questions]:
        """What a checkpoint will be asked, by the style's name; found for all checkpoints before any work.

        Raises InputError where the artifact is no checkpoint, or lacks a character, a symbol, or room.
        """
        context, tokenizer = model_of(artifact, mesh).config.context, tokenizer_of(artifact)
        styles = (self.exam.style, *self.prompts)
        return {style.name: questions_of(self.exam, tokenizer, context, style, problems) for style in styles}

    def candidate(self, artifact: Artifact, questions: Mapping[str, Questions], mesh: Mesh) -> Candidate:
        """A checkpoint with its weights as decoding wants them."""
        model, tokenizer = model_of(artifact, mesh), tokenizer_of(artifact)
        engine = sampling_engine(self.exam, model, mesh, tokenizer, 1)
        weights = engine.publish(params_of(artifact, model, mesh))
        return Candidate(artifact.stage, tokenizer, model, weights, questions)

    def examine(self, candidate: Candidate, piece: Piece, context: Context) -> Answers:
        """One checkpoint's replies to all problems, asked in one way."""
        exam, model, tokenizer = self.exam, candidate.model, candidate.tokenizer
        if piece.how == "beam":
            engine = beam_engine(exam, model, context.mesh, tokenizer, self.beam)
        else:
            engine = sampling_engine(exam, model, context.mesh, tokenizer, piece.samples)
        name = f"{self.name}/{candidate.stage}" + (f"/{piece.style.name}" if piece.style != exam.style else "")
        questions, key = candidate.questions[piece.style.name], stage_key(context.seed, name)
        temperature = exam.temperature if piece.how == "sample" else 0.0
        return ask(exam, engine, candidate.weights, tokenizer, key, temperature, questions)

    def finish(self, out: Path, artifacts: tuple[Artifact, ...], problems: tuple[Problem, ...]) -> Outcome:
        """Writes the tables and the replies of all checkpoints, and gives the main table's means."""
        results: dict[str, dict[str, Any]] = {"checkpoints": {}, "kinds": {}, "prompts": {}}
        lines = []
        for artifact in artifacts:
            replies = self.replies(out, artifact)
            for name, table in tables(self.exam, problems, replies, ks=self.ks, votes=self.votes).items():
                results[name][artifact.stage] = table
            lines += [json.dumps(row, ensure_ascii=False) + "\n" for row in rows(artifact.stage, problems, replies)]
        if jax.process_index() == 0:
            write_atomic(out / "samples.jsonl", "".join(lines))
            write_atomic(out / "results.json", json.dumps(results, indent=1) + "\n")
        scores = results["checkpoints"]
        means = {f"{stage}/{name}": value["mean"] for stage, table in scores.items() for name, value in table.items()}
        return Outcome("results", means)

    def replies(self, out: Path, artifact: Artifact) -> Replies:
        """All that one checkpoint replied, read from the files of its pieces."""
        found = {piece: from_json(read_json(part_file(out, artifact, piece))) for piece in self.pieces()}
        by_name = {piece.name: answers for piece, answers in found.items()}
        further = {piece.style.name: answers for piece, answers in found.items() if piece.style != self.exam.style}
        return Replies(by_name["greedy"], by_name["samples"], by_name.get("beam"), self.beam, further)

    def plan(self) -> dict[str, object]:
        """Sizes for ``run --check``."""
        a_problem = sum(self.beam if piece.how == "beam" else piece.samples for piece in self.pieces())
        replies = len(self.checkpoints) * self.exam.problems.count * a_problem
        return {"replies": replies, "sampled tokens at most": replies * self.exam.max_new_tokens}


def part_file(out: Path, artifact: Artifact, piece: Piece) -> Path:
    """Where the replies of one checkpoint to one piece lie."""
    return out / "parts" / f"{artifact.stage}.{piece.name}.json"
