"""Ways of getting replies to an exam's questions, each a record: ``exam.methods = (greedy, samples, beam4)``.

Another one is a frozen dataclass of any module with ``name``, ``cost`` and ``replies``; its column stands beside the
others in tables, reports and sweeps.

Shapes: P problems, S samples a problem, V votes a problem.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Protocol, runtime_checkable

import jax
import numpy as np

from reasoning.core.errors import InputError
from reasoning.core.program import Program
from reasoning.core.ranges import Count, Few, NonNegative, OptionalSize, Range
from reasoning.core.signatures import function_words
from reasoning.core.statistics import pass_at_k
from reasoning.data.tokenizers.tokenizer import stop_ids
from reasoning.evaluation.exam import Answers, Candidate, Exam, Questions, ask, graded, in_batches, longest_of
from reasoning.evaluation.sitting import Sitting
from reasoning.generation.beam import BeamSettings, build_beam
from reasoning.generation.engine import Rollouts
from reasoning.generation.shaping import Shaping
from reasoning.generation.truncation import Truncation
from reasoning.generation.voting import likelihoods, majority
from reasoning.generation.watching import Watch
from reasoning.models.cache import Weights

_METHOD_NAME = re.compile(r"[A-Za-z0-9_@.+-]+")
"""Names of methods become parts of file names and of columns."""


@runtime_checkable
class Method(Protocol):
    """One way of getting replies; each score of its replies is the column ``<score>/<name>``."""

    @property
    def name(self) -> str:
        """What its column and its files are called; no two methods of an exam share it."""
        ...

    def cost(self, exam: Exam) -> int:
        """How many replies are decoded for each question."""
        ...

    def replies(self, candidate: Candidate, questions: Questions, key: jax.Array) -> Answers:
        """One or more replies to each question, in order; the same for the same key, on every process.

        All methods of an exam get one key, so that they compare on the same draws.
        """
        ...


@runtime_checkable
class Summarizing(Protocol):
    """A method with columns of its own, where the mean over its replies isn't all that they tell."""

    def columns(self, answers: Answers, scores_PS: np.ndarray) -> dict[str, np.ndarray]:
        """Values [P, …] in 0..1 by column, from one score's values of all replies."""
        ...


@runtime_checkable
class Spending(Protocol):
    """A method that has several columns, or takes other tokens than those of the replies that it gives."""

    def tokens_by_column(self, answers: Answers) -> dict[str, np.ndarray]:
        """How many tokens [P] were decoded for each problem, by column."""
        ...


@runtime_checkable
class Weighing(Protocol):
    """A method that has several columns, of which some take what scorers read, and others don't."""

    def scorer_flops_by_column(self, answers: Answers) -> dict[str, np.ndarray]:
        """What scorers took for each problem [P], in operations, by column."""
        ...


@runtime_checkable
class Checked(Protocol):
    """A method that not every exam can ask."""

    def check(self, exam: Exam) -> None:
        """Raises InputError where it doesn't fit the exam."""
        ...


@dataclass(frozen=True)
class Greedy:
    """The reply without randomness: at each place the likeliest token."""

    @property
    def name(self) -> str:
        return "greedy"

    def cost(self, exam: Exam) -> int:
        return 1

    def replies(self, candidate: Candidate, questions: Questions, key: jax.Array) -> Answers:
        return ask(candidate, questions, key, samples=1, temperature=0.0)

    def programs(self, sitting: Sitting) -> Iterator[Program]:
        yield sitting.sampled(self.name, 1)


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Replies sampled at the exam's temperature: pass@1 (the mean over all), unbiased pass@k, and votes of N.

    In a vote each sample counts one (``majority@N``, arXiv 2203.11171) or as much as its probability (``weighted@N``).
    A vote stands for its first sample with the winning answer; with fewer votes than samples, all disjoint groups of N
    samples vote, and are averaged. Answers of one value share a ballot (``generation.voting.tally``).
    """

    samples: OptionalSize = 0  # replies a problem (0: as many as the exam says)
    ks: tuple[Annotated[int, Range(minimum=2)], ...] = ()
    votes: tuple[Count, ...] = ()  # sizes N of votes

    @property
    def name(self) -> str:
        return "samples"

    def check(self, exam: Exam) -> None:
        """Raises InputError for a k or a vote that needs more samples than there are."""
        samples = self.cost(exam)
        for what, numbers in (("pass", self.ks), ("a vote", self.votes)):
            if too_large := [number for number in numbers if number > samples]:
                raise InputError(
                    f"{what}@{too_large[0]} can't be estimated from {samples} samples a problem; raise the exam's "
                    "samples or drop it"
                )

    def cost(self, exam: Exam) -> int:
        return self.samples or exam.samples

    def replies(self, candidate: Candidate, questions: Questions, key: jax.Array) -> Answers:
        return ask(candidate, questions, key, samples=self.cost(candidate.exam))

    def programs(self, sitting: Sitting) -> Iterator[Program]:
        yield sitting.sampled(self.name, self.cost(sitting.exam))

    def columns(self, answers: Answers, scores_PS: np.ndarray) -> dict[str, np.ndarray]:
        columns = {"pass@1": scores_PS}
        columns |= {f"pass@{k}": _pass_at_k(scores_PS, k) for k in self.ks}
        for size in self.votes:
            for word, weighted in (("majority", False), ("weighted", True)):
                columns[f"{word}@{size}"] = scores_of_elected(scores_PS, elections(answers, size, weighted))
        return columns

    def tokens_by_column(self, answers: Answers) -> dict[str, np.ndarray]:
        """See ``Spending``; of k samples, k times their mean."""
        mean_P = answers.lengths.mean(axis=1)
        tokens = {"pass@1": mean_P} | {f"pass@{k}": k * mean_P for k in self.ks}
        for size in self.votes:
            used = answers.lengths.shape[1] // size * size
            whole_P = answers.lengths[:, :used].sum(axis=1) / (used // size)
            tokens |= {f"{word}@{size}": whole_P for word in ("majority", "weighted")}
        return tokens


@dataclass(frozen=True, kw_only=True)
class Beam:
    """The best reply that a search with so many beams finds (``generation.beam``).

    With ``groups`` and a ``diversity_penalty`` groups of beams avoid each other's tokens (``beam.BeamSettings``).
    """

    beams: Few
    groups: Few = 1
    diversity_penalty: NonNegative = 0.0

    @property
    def name(self) -> str:
        word = f"diverse_{self.groups}_{self.diversity_penalty:g}_" if self.groups > 1 else ""
        return f"{word}beam@{self.beams}"

    def check(self, exam: Exam) -> None:
        """Raises InputError as ``BeamSettings`` does."""
        self._settings(exam, (), 0)

    def _settings(self, exam: Exam, ends: tuple[int, ...], longest: int) -> BeamSettings:
        return BeamSettings(
            self.beams,
            exam.max_new_tokens,
            ends,
            longest_prompt=longest,
            groups=self.groups,
            diversity_penalty=self.diversity_penalty,
        )

    def cost(self, exam: Exam) -> int:
        return self.beams

    def replies(self, candidate: Candidate, questions: Questions, key: jax.Array) -> Answers:
        """See ``Method``; nothing is drawn. What it takes is all beams at each step up to the longest that is kept."""
        exam, ends = candidate.exam, stop_ids(candidate.tokenizer, candidate.exam.chat)
        settings = self._settings(exam, ends, longest_of(questions))
        search = build_beam(candidate.model, candidate.mesh, settings)

        def all_beams(
            weights: Weights,
            prompts: Sequence[Sequence[int]],
            ids: Sequence[int],
            key: jax.Array,
            temperature: float,
            *,
            rows: int = 0,
            truncation: Truncation | None = None,
            shaping: Shaping | None = None,
            watch: Watch | None = None,
        ) -> Rollouts:
            return search(weights, prompts, rows=rows).rollouts

        found = in_batches(all_beams, candidate, questions, exam.batch, key, 0.0)
        best = Rollouts(*(getattr(found, name)[:, :1] for name in Rollouts.names()))
        spent_P = self.beams * found.lengths.max(axis=1)
        return replace(graded(candidate, questions, best), spent=spent_P)

    def programs(self, sitting: Sitting) -> Iterator[Program]:
        """See ``sitting.Foreseen``."""
        yield sitting.searched(self.name, self.beams)

    def tokens_by_column(self, answers: Answers) -> dict[str, np.ndarray]:
        """See ``Spending``; replies that were kept without what they took count as if all beams were as long."""
        return {self.name: self.beams * answers.lengths.sum(axis=1) if answers.spent is None else answers.spent}


def check_methods(field: str, methods: Sequence[Method], exam: Exam) -> None:
    """Raises InputError where the methods in ``field`` can't be told apart, or one of them doesn't fit the exam."""
    names = [method.name for method in methods]
    if not names:
        raise InputError(f"{field} is empty; name at least one")
    for name in names:
        if not isinstance(name, str) or not _METHOD_NAME.fullmatch(name):
            raise InputError(f"{field} has a method named {name!r}; use letters, digits and any of _@.+-")
        if names.count(name) > 1:
            raise InputError(f"{field} has two methods named {name!r}; drop one of them, or rename it")
    for method in methods:
        if isinstance(method, Checked):
            method.check(exam)


def replies_by(method: Method, candidate: Candidate, questions: Questions, key: jax.Array) -> Answers:
    """What a method replies. Raises InputError, naming it, where that isn't answers to each of the questions."""
    given: Any = method.replies(candidate, questions, key)
    where = f"the method {function_words(type(method).replies)}"
    if not isinstance(given, Answers):
        raise InputError(f"{where} gave {given!r:.60}; it must return Answers of reasoning.evaluation.exam")
    wanted = len(questions.problems)
    counts = {len(given.texts), len(given.answers), *map(len, (given.lengths, given.log_probs, *given.scores.values()))}
    if counts != {wanted}:
        raise InputError(
            f"{where} gave Answers to {', '.join(map(str, sorted(counts)))} questions where {wanted} were asked; it "
            "must answer each of them, in order"
        )
    return given


def columns_of(method: Method, answers: Answers, score: str) -> dict[str, np.ndarray]:
    """The columns of a method's replies by one score: its own, or the score's values under its name.

    Raises InputError, naming the score, where its values don't suit the method.
    """
    scores_PS = answers.scores[score]
    try:
        return method.columns(answers, scores_PS) if isinstance(method, Summarizing) else {method.name: scores_PS}
    except InputError as error:
        raise InputError(f"the score {score}: {error}") from None


def tokens_of(method: Method, answers: Answers) -> dict[str, np.ndarray]:
    """How many tokens [P] a method took for each problem, by its columns."""
    if isinstance(method, Spending):
        return method.tokens_by_column(answers)
    return {method.name: answers.decoded}


def scorer_flops_of(method: Method, answers: Answers) -> dict[str, np.ndarray]:
    """What scorers took for each problem [P], in operations, by the method's columns."""
    if isinstance(method, Weighing):
        return method.scorer_flops_by_column(answers)
    all_P = sum((each.flops.sum(axis=1) for each in answers.judged.values()), np.zeros(len(answers.lengths)))
    return dict.fromkeys(tokens_of(method, answers), all_P)


def _right(scores_PS: np.ndarray) -> np.ndarray:
    """How many of each problem's samples are right [P]. Raises InputError for a value that is neither 1 nor 0."""
    between = scores_PS[(scores_PS != 0) & (scores_PS != 1) & ~np.isnan(scores_PS)]
    if between.size:
        raise InputError(
            f"it gave a reply {between[0]:g}, but pass@k counts replies that are right (1) or wrong (0); put it into "
            "the exam's rates, or drop ks"
        )
    return (scores_PS == 1).sum(axis=1)


def _pass_at_k(scores_PS: np.ndarray, k: int) -> np.ndarray:
    """Each problem's pass@k over the replies that were graded; NaN for a problem with fewer than ``k`` of them."""
    right_P, graded_P = _right(scores_PS), (~np.isnan(scores_PS)).sum(axis=1)
    if (graded_P == scores_PS.shape[1]).all():
        return pass_at_k(right_P, scores_PS.shape[1], k)
    values_P = np.full(len(scores_PS), np.nan)
    for count in sorted(set(graded_P[graded_P >= k].tolist())):
        values_P[graded_P == count] = pass_at_k(right_P[graded_P == count], count, k)
    return values_P


def elections(sampled: Answers, size: int, weighted: bool) -> np.ndarray:
    """The sample that each vote elects [P, V], -1 where no sample gave an answer: votes of ``size`` samples, in order.

    Each problem's samples make S // size disjoint groups. A vote elects the first sample with the winning answer: the
    reply that somebody who lets the model vote would be shown, so that its scores are the vote's.
    """
    starts = range(0, sampled.lengths.shape[1] // size * size, size)

    def elect(problem: int, start: int) -> int:
        answers = sampled.answers[problem][start : start + size]
        log_probs, lengths = (
            each[problem, start : start + size].tolist() for each in (sampled.log_probs, sampled.lengths)
        )
        weights = likelihoods(answers, log_probs, lengths) if weighted else None
        winner = majority(answers, weights)
        return -1 if winner is None else start + answers.index(winner)

    return np.array([[elect(problem, start) for start in starts] for problem in range(len(sampled.answers))])


def scores_of_elected(scores_PS: np.ndarray, chosen_PV: np.ndarray) -> np.ndarray:
    """The scores [P, V] of elected samples; a vote without an answer scores 0.

    NaN for one that elects a sample which was not graded, and for all votes on a problem of which none was.
    """
    unknown_P1 = np.isnan(scores_PS).all(axis=1, keepdims=True)
    elected_PV = np.take_along_axis(scores_PS, np.maximum(chosen_PV, 0), axis=1)
    return np.where(chosen_PV < 0, np.where(unknown_P1, np.nan, 0.0), elected_PV)
