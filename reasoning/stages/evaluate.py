"""Evaluation: checkpoints are asked the same held-out problems by several methods, and scored, with intervals."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from reasoning.core.artifact import NOT_HASHED, Artifact, Outcome
from reasoning.core.errors import InputError
from reasoning.core.fingerprints import vouch, vouched
from reasoning.core.mesh import wait_for_all
from reasoning.core.prng import stage_key
from reasoning.core.program import Program
from reasoning.core.progress import Progress
from reasoning.evaluation.exam import Candidate, Exam, Questions, candidate_of, check_exam, questions_of
from reasoning.evaluation.methods import Greedy, Method, Samples, check_methods, replies_by
from reasoning.evaluation.results import (
    SAMPLES,
    Results,
    are_written,
    join_samples,
    read_results,
    read_samples,
    write_results,
    write_samples,
)
from reasoning.evaluation.scorers import Scorer
from reasoning.evaluation.sitting import Foreseen, Reads, Sitting
from reasoning.evaluation.tables import answers_of, by_kind, confusions, measured, rows_of, spent, tabulate, values_of
from reasoning.evaluation.verifier import Verifier, verifying, verifying_told
from reasoning.generation.prompts import PromptStyle
from reasoning.models.model import Model
from reasoning.rewards.reward import scorers_of
from reasoning.rollouts.rating import remarks_on
from reasoning.stages.checkpoint import model_of, params_of, tokenizer_of
from reasoning.stages.place import Asked, Place, asked_of, problems_at_hand
from reasoning.stages.programs import model_before, publishing_program
from reasoning.stages.reward_model import loaded_scorers
from reasoning.stages.scorer_programs import Beside, scorers_beside
from reasoning.stages.stage import Context, Stage
from reasoning.tasks.problems import Problem
from reasoning.training.first_process import on_first_process
from reasoning.training.preemption import Interrupted

_PARTS = "parts"
"""The folder of one file a piece, until all are done."""


@dataclass(frozen=True)
class _Piece:
    """One method in one style for one checkpoint; the unit of work that an interruption can't lose."""

    checkpoint: Artifact
    method: Method
    style: PromptStyle
    file: Path


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Asks each checkpoint the quiz's problems; the same problems, so that checkpoints compare pair by pair.

    Each score is given for each of ``methods`` (``evaluation.methods``). The questions are put in further ``styles``
    too, by ``style_methods``.
    """

    name: str = ""
    checkpoints: tuple[Stage, ...]
    quiz: Exam
    methods: tuple[Method, ...] = (Greedy(), Samples())
    styles: tuple[PromptStyle, ...] = ()
    style_methods: tuple[Method, ...] = (Samples(),)
    scorers: tuple[Stage, ...] = ()  # reward models, which methods name …
    verifiers: tuple[Verifier, ...] = ()  # … beside these, by which each checkpoint judges its own replies
    # Whether its questions may be among those that the checkpoints learnt from; how many are is told.
    allow_leaks: bool = field(default=False, metadata=NOT_HASHED)

    def __post_init__(self) -> None:
        for name, methods in (("methods", self.methods), ("style_methods", self.style_methods)):
            check_methods(name, methods, self.quiz)
        self._check_scorers()
        names = [style.name for style in (self.quiz.style, *self.styles)]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise InputError(f"two prompt styles are named {', '.join(repeated)}, the quiz's own counted; rename one")
        if self.quiz.problems.count < 2:
            raise InputError("an exam of 1 problem has no interval; ask at least 2")

    def _check_scorers(self) -> None:
        """Raises InputError for a method that asks a scorer which the exam doesn't have."""
        there = [scorer.name for scorer in (*self.scorers, *self.verifiers)]
        if repeated := [name for name in there if there.count(name) > 1]:
            raise InputError(f"two scorers are named {repeated[0]}; rename one of them")
        for method in (*self.methods, *self.style_methods):
            for name in scorers_of(method):
                if name not in there:
                    raise InputError(
                        f"the method {method.name} asks the scorer {name}, and the exam's scorers are "
                        f"{', '.join(there) or 'none'}; add it to {self.name or 'the exam'}.scorers"
                    )

    def check(self, mesh: Mesh) -> None:
        """Raises InputError for a problem that one of the quiz's scores and rates can't judge, for leaks, and where a
        batch of replies can't be in memory at once.
        """
        check_exam(self.quiz, mesh, f"stage {self.name}: the replies to a batch of its quiz")

    def run(self, inputs: Mapping[str, Any], out: Path, context: Context) -> Outcome:
        """Examines every checkpoint, piece by piece, as far as an earlier, interrupted run hasn't done it yet."""
        artifacts: tuple[Artifact, ...] = inputs["checkpoints"]
        pieces = [piece for artifact in artifacts for piece in self.pieces(artifact, out)]
        over = on_first_process(partial(are_written, out, context.warn))
        missing = {piece.file for piece in pieces if not on_first_process(partial(vouched, piece.file, context.warn))}
        wait_for_all(f"{self.name} has looked")  # Only then does process 0 write and remove what the others look for.
        if over:  # An earlier run was cut off behind its last file.
            return self.end(out, read_results(out))
        problems = self.quiz.problems.problems()
        for leak in self.quiz.problems.leaks():
            context.warn(f"{self.name}: {leak}")
        for remark in remarks_on((*self.quiz.scores, *self.quiz.rates), self.quiz.problems):
            context.warn(f"{self.name}: {remark}")
        questions = {artifact.stage: self.questions(artifact, problems, context) for artifact in artifacts}
        (out / _PARTS).mkdir(exist_ok=True)
        candidate, examined, tokens = None, None, 0
        scorers: dict[str, Scorer] = {}
        for number, piece in enumerate(pieces, start=1):
            if piece.file in missing:
                if candidate is None or examined != piece.checkpoint:
                    candidate = None  # Two checkpoints needn't fit into memory.
                    with context.at_once():
                        candidate, examined = self.candidate(piece.checkpoint, context), piece.checkpoint
                        scorers = scorers or loaded_scorers(
                            inputs.get("scorers", ()), candidate.tokenizer, self.name, self.quiz.batch, context
                        )
                        candidate = replace(candidate, scorers=scorers | verifying(self.verifiers, candidate))
                with context.at_once():
                    tokens += self.examine(piece, candidate, questions[piece.checkpoint.stage], context)
            context.report(Progress(self.name, number, len(pieces), {}, tokens))
            signal = context.stop(number)
            if signal is not None and number < len(pieces):
                raise Interrupted(signal)
        results = self.results(out, artifacts, problems)
        if jax.process_index() == 0:
            join_samples(out / SAMPLES, (piece.file for piece in pieces))
            write_results(out, results)
        return self.end(out, results)

    def programs(self, place: Place) -> tuple[Program, ...]:
        """What methods compile that can tell it (``sitting.Foreseen``), named by checkpoint where there are several."""
        told = [(one.name, program) for one in self.checkpoints for program in self._asking(one, place)]
        several = len(self.checkpoints) > 1
        return tuple(replace(each, name=f"{one}, {each.name}") if several else each for one, each in told)

    def _asking(self, checkpoint: Stage, place: Place) -> Iterator[Program]:
        model, published = model_before(checkpoint, place, self.name), False
        beside = scorers_beside(self.scorers, self.quiz.batch, place, self.name)
        for style, methods in (
            (self.quiz.style, self.methods),
            *((style, self.style_methods) for style in self.styles),
        ):
            sitting = self._sitting(checkpoint, place, model, style, beside)
            if not published:
                settings = sitting.settings(1, self.quiz.max_new_tokens, sitting.longest)
                yield beside.around(publishing_program(model, place, settings))
                published = True
            for method in methods:
                if isinstance(method, Foreseen):
                    yield from map(beside.around, method.programs(sitting))
                else:
                    place.note(f"{self.name}: what its method {method.name} compiles isn't planned")

    def _sitting(self, checkpoint: Stage, place: Place, model: Model, style: PromptStyle, beside: Beside) -> Sitting:
        """The quiz before a checkpoint is asked it in a style."""
        where, tokenizer = f"{self.name}, {checkpoint.name}", place.tokenizer(checkpoint)

        def asked_in(style: PromptStyle) -> Asked:
            return asked_of(place, where, self.quiz, checkpoint, model.config.context, style)

        asked = asked_in(style)
        sitting = Sitting(
            exam=self.quiz,
            model=model,
            mesh=place.mesh,
            style=style,
            prompts=asked.prompts,
            longest=asked.longest,
            ends=asked.ends,
            problems=problems_at_hand(self.quiz.problems),
            longest_in=lambda style: asked_in(style).longest,
            tokenizer=tokenizer,
            note=lambda note: place.note(f"{where}, {note}"),
        )
        scorers: dict[str, Reads] = {name: partial(beside.reading, name) for name in beside.scorers}
        own = {verifier.name: partial(verifying_told, verifier, sitting) for verifier in self.verifiers}
        return replace(sitting, scorers=scorers | own)

    def pieces(self, artifact: Artifact, out: Path) -> tuple[_Piece, ...]:
        """What one checkpoint is asked, in order."""
        asked = [(self.quiz.style, self.methods), *((style, self.style_methods) for style in self.styles)]
        return tuple(
            _Piece(artifact, method, style, out / _PARTS / f"{artifact.stage}.{number}.{method.name}.jsonl")
            for number, (style, methods) in enumerate(asked)
            for method in methods
        )

    def style_name(self, style: PromptStyle) -> str:
        """What rows and files call a style; the quiz's own is the empty one."""
        return "" if style == self.quiz.style else style.name

    def questions(self, artifact: Artifact, problems: tuple[Problem, ...], context: Context) -> dict[str, Questions]:
        """What a checkpoint will be asked, by the style's name; found for all checkpoints before any work.

        Raises InputError where the artifact is no checkpoint, or lacks a character, a symbol, or room.
        """
        limit, tokenizer = model_of(artifact, context.mesh, context.kernels).config.context, tokenizer_of(artifact)
        styles = (self.quiz.style, *self.styles)
        return {style.name: questions_of(self.quiz, tokenizer, limit, style, problems) for style in styles}

    def candidate(self, artifact: Artifact, context: Context) -> Candidate:
        """A checkpoint with its weights as decoding wants them."""
        model, tokenizer = model_of(artifact, context.mesh, context.kernels), tokenizer_of(artifact)
        params = partial(params_of, artifact, model, context.mesh)
        return candidate_of(self.quiz, model, context.mesh, tokenizer, params)

    def examine(self, piece: _Piece, candidate: Candidate, questions: Mapping[str, Questions], context: Context) -> int:
        """Writes one checkpoint's replies to all problems, asked in one way, and gives the number of their tokens."""
        stage, style = piece.checkpoint.stage, self.style_name(piece.style)
        key = stage_key(context.seed, f"{self.name}/{stage}" + (f"/{style}" if style else ""))
        answers = replies_by(piece.method, candidate, questions[piece.style.name], key)
        values_of(self.quiz, ((piece.method, answers),))  # What can't be counted is refused before more is asked.
        if jax.process_index() == 0:
            asked = questions[piece.style.name]
            rows = rows_of(stage, asked.problems, answers, piece.method.name, style, prompts=asked.prompts)
            write_samples(piece.file, rows)
            vouch(piece.file)
        wait_for_all(str(piece.file))
        return int(answers.lengths.sum())

    def results(self, out: Path, artifacts: tuple[Artifact, ...], problems: tuple[Problem, ...]) -> Results:
        """The tables, from the files of all pieces, one checkpoint's at a time."""
        checkpoints, kinds, styles, confused, tokens = {}, {}, {}, {}, {}
        for artifact in artifacts:
            asked: dict[str, list] = {}
            for piece in self.pieces(artifact, out):
                answers = answers_of(read_samples(piece.file))
                asked.setdefault(self.style_name(piece.style), []).append((piece.method, answers))
            own, every = asked.pop(""), range(len(problems))
            values = values_of(self.quiz, own)
            checkpoints[artifact.stage] = tabulate(values, every) | measured(self.quiz, own, problems, every)
            kinds[artifact.stage] = by_kind(values, problems)
            tokens[artifact.stage] = spent(own)
            confused[artifact.stage] = confusions(self.quiz, own, problems)
            styles[artifact.stage] = {
                style: tabulate(values_of(self.quiz, each), every) | measured(self.quiz, each, problems, every)
                for style, each in asked.items()
            }
        return Results(
            checkpoints, _filled(kinds), _filled(styles), self.quiz.problems.split, _filled(confused), tokens
        )

    def end(self, out: Path, results: Results) -> Outcome:
        """The main table's means; the files of pieces, all of which are in the samples, go."""
        wait_for_all(f"{self.name} has read its parts")
        if jax.process_index() == 0 and (out / _PARTS).exists():
            shutil.rmtree(out / _PARTS)
        return Outcome("results", results.means())

    def plan(self) -> dict[str, object]:
        """Sizes for ``run --check``."""
        own = sum(method.cost(self.quiz) for method in self.methods)
        further = len(self.styles) * sum(method.cost(self.quiz) for method in self.style_methods)
        replies = len(self.checkpoints) * self.quiz.problems.count * (own + further)
        return {"replies": replies, "sampled tokens at most": replies * self.quiz.max_new_tokens}


def _filled(tables: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The tables of those checkpoints that have some."""
    return {stage: each for stage, each in tables.items() if each}
