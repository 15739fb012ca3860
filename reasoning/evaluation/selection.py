"""Ways of spending samples on one reply: votes, the best of N, votes that stop early; each a record with its tokens.

A way sees nothing but samples that are there already, so one draw of N tells what every way of using up to N of them
would have answered, and how many tokens it would have taken. Another way is a frozen dataclass of any module with
``name``, ``size`` and ``choose``.

Shapes: P problems, S samples a problem, V groups of samples a problem, N samples of a group.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Protocol, runtime_checkable

import jax
import numpy as np
from scipy import special

from reasoning.core.errors import InputError
from reasoning.core.program import Program
from reasoning.core.ranges import Count, OptionalSize, Range
from reasoning.core.signatures import function_words
from reasoning.evaluation.exam import Answers, Candidate, Exam, Questions, draw, graded, step_scores
from reasoning.evaluation.methods import Samples, scores_of_elected
from reasoning.evaluation.scorers import Aggregation, aggregated, last
from reasoning.evaluation.sitting import Sitting
from reasoning.generation.voting import majority, ratios, tally

NOBODY = -1
"""What is chosen where no sample gave an answer."""

LogWeights = Callable[[Answers], np.ndarray]
"""From replies to what each counts, as logarithms [P, S]: of two that differ by 1 the higher counts e times as much."""


@dataclass(frozen=True)
class Group:
    """N samples of one problem, in the order in which they were drawn: their answers, and the replies they are of."""

    answers: Sequence[str | None]
    samples: Answers
    problem: int
    start: int
    weighed: dict[int, np.ndarray] = field(default_factory=dict)  # by whom: of all samples, for all groups

    def log_weights(self, by: LogWeights) -> np.ndarray:
        """The group's log-weights [N]. Raises InputError where they are no numbers, or not one a sample."""
        if id(by) not in self.weighed:
            self.weighed[id(by)] = _log_weights(by, self.samples)
        return self.weighed[id(by)][self.problem, self.start : self.start + len(self.answers)]


@runtime_checkable
class Way(Protocol):
    """One way of using up to ``size`` samples; its scores are the column ``<score>/<name>``."""

    @property
    def name(self) -> str:
        """What its column is called; no two ways share it."""
        ...

    @property
    def size(self) -> int:
        """How many samples it may use."""
        ...

    def choose(self, group: Group) -> tuple[int, int]:
        """The number within the group of the reply that is given (``NOBODY``: none), and how many samples it took."""
        ...


def probability(answers: Answers) -> np.ndarray:
    """Samples count as much as they are probable ("unnormalized weighted sum", arXiv 2203.11171, table 1)."""
    return answers.log_probs


def confidence(answers: Answers) -> np.ndarray:
    """Samples count as their tokens' geometric mean probability ("normalized", arXiv 2203.11171, table 1)."""
    return answers.log_probs / np.maximum(answers.lengths, 1)


@dataclass(frozen=True)
class Scored:
    """Samples count as much as a score or rate of theirs, which the exam takes, is high; not graded counts nothing.

    By a score that knows the right answer this is what a perfect verifier would reach, and no method.
    """

    score: str

    def __call__(self, answers: Answers) -> np.ndarray:
        """Log-weights [P, S]. Raises InputError where the exam has no such score, and for values below 0."""
        if self.score not in answers.scores:
            raise InputError(f"there is no score {self.score} to choose by; there are {', '.join(answers.scores)}")
        values_PS = np.nan_to_num(answers.scores[self.score], nan=0.0)
        if values_PS.min() < 0:
            raise InputError(f"the score {self.score} is {values_PS.min():g} somewhere; weights can't be below 0")
        with np.errstate(divide="ignore"):
            return np.log(values_PS)


@dataclass(frozen=True, kw_only=True)
class ByScorer:
    """Samples count as much as a scorer of the exam makes of them, ``aggregate`` of their steps' scores.

    Let's Verify Step by Step (arXiv 2305.20050) takes the product, Math-Shepherd (arXiv 2312.08935) the minimum.
    """

    scorer: str  # a reward model's stage, or a verifier
    aggregate: Aggregation = last

    @property
    def name(self) -> str:
        return f"{self.scorer}_{getattr(self.aggregate, '__name__', type(self.aggregate).__name__).lower()}"

    def __call__(self, answers: Answers) -> np.ndarray:
        """Log-weights [P, S]. Raises InputError where the scorer wasn't asked."""
        if self.scorer not in answers.judged:
            raise InputError(f"the scorer {self.scorer} was not asked about these replies; evaluate again")
        steps = [scores_E for group in answers.judged[self.scorer].steps for scores_E in group]
        with np.errstate(divide="ignore"):
            return np.log(aggregated(self.aggregate, steps)).reshape(answers.lengths.shape)


@dataclass(frozen=True, kw_only=True)
class Majority:
    """The first sample with the answer that most of N give (self-consistency, arXiv 2203.11171)."""

    size: Count

    @property
    def name(self) -> str:
        return f"majority@{self.size}"

    def choose(self, group: Group) -> tuple[int, int]:
        """See ``Way``."""
        return _first_of(majority(group.answers), group.answers), self.size


@dataclass(frozen=True, kw_only=True)
class Weighted:
    """The first sample with the answer for which the weights of N samples add up to most; equal weights: a majority."""

    size: Count
    by: LogWeights

    @property
    def name(self) -> str:
        return f"weighted_{_called(self.by)}@{self.size}"

    def choose(self, group: Group) -> tuple[int, int]:
        """See ``Way``. Raises InputError for weights that are no numbers."""
        weights = ratios(group.answers, group.log_weights(self.by).tolist())
        return _first_of(majority(group.answers, weights), group.answers), self.size


@dataclass(frozen=True, kw_only=True)
class BestOf:
    """The sample of N that counts most, the first of equals; whether it has an answer doesn't matter."""

    size: Count
    by: LogWeights

    @property
    def name(self) -> str:
        return f"best_{_called(self.by)}@{self.size}"

    def choose(self, group: Group) -> tuple[int, int]:
        """See ``Way``. Raises InputError for weights that are no numbers."""
        return int(group.log_weights(self.by).argmax()), self.size


@dataclass(frozen=True, kw_only=True)
class Adaptive:
    """A majority that stops drawing once its winner is unlikely to change (adaptive consistency, arXiv 2305.11860).

    After every ``step`` samples it stops if the leading answer is more probable than the second with a probability
    above ``threshold``, by the Beta posterior of the two counts (``majority_stays``); after ``size`` samples at last.
    A ``threshold`` of 1 is never passed, which makes it a majority of ``size``.
    """

    size: Count
    threshold: Annotated[float, Range(minimum=0.5, maximum=1)] = 0.95
    step: Count = 1

    @property
    def name(self) -> str:
        return f"adaptive_{self.threshold:g}" + (f"_{self.step}" if self.step > 1 else "") + f"@{self.size}"

    def choose(self, group: Group) -> tuple[int, int]:
        """See ``Way``."""
        used = next((drawn for drawn in range(self.step, self.size, self.step) if self._over(group, drawn)), self.size)
        answers = group.answers[:used]
        return _first_of(majority(answers), answers), used

    def _over(self, group: Group, drawn: int) -> bool:
        first, second, *_ = (*sorted(tally(group.answers[:drawn]).values(), reverse=True), 0, 0)
        # The risk is compared, not the probability: near 1 that is rounded, and a threshold of 1 would be passed.
        return _risk(int(first), int(second)) < 1 - self.threshold


def majority_stays(first: int, second: int) -> float:
    """The probability that an answer given ``first`` times is the likelier one beside one given ``second`` times.

    With a uniform prior the share of the first among the two is Beta(first + 1, second + 1); this is its mass above ½
    (arXiv 2305.11860, section 3.2).
    """
    return 1 - _risk(first, second)


def _risk(first: int, second: int) -> float:
    return float(special.betainc(first + 1, second + 1, 0.5))


@dataclass(frozen=True, kw_only=True)
class Selections:
    """Replies sampled at the exam's temperature once, and spent in many ``ways``; beside them pass@1 and pass@k.

    A way that uses fewer samples than there are is taken over all disjoint groups of so many, and averaged.
    """

    ways: tuple[Way, ...]
    samples: OptionalSize = 0  # replies a problem (0: as many as the exam says)
    ks: tuple[Annotated[int, Range(minimum=2)], ...] = ()

    @property
    def name(self) -> str:
        return "selections"

    def check(self, exam: Exam) -> None:
        """Raises InputError for a k or a way that needs more samples than there are, and for two ways of one name."""
        samples = self.cost(exam)
        Samples(samples=samples, ks=self.ks).check(exam)
        names = [way.name for way in self.ways]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise InputError(f"two ways are named {repeated[0]}; drop one of them")
        if large := [way for way in self.ways if way.size > samples]:
            raise InputError(
                f"{large[0].name} can't be taken from {samples} samples a problem; raise the number of samples or "
                "drop it"
            )

    def cost(self, exam: Exam) -> int:
        return self.samples or exam.samples

    def replies(self, candidate: Candidate, questions: Questions, key: jax.Array) -> Answers:
        """See ``Method``."""
        rollouts = draw(candidate, questions, key, samples=self.cost(candidate.exam))
        answers = graded(candidate, questions, rollouts)
        return replace(answers, judged=step_scores(candidate, questions, rollouts, self.scorers_asked()))

    def scorers_asked(self) -> tuple[str, ...]:
        """See ``rewards.reward.scorers_of``."""
        return tuple(dict.fromkeys(by.scorer for way in self.ways if (by := _scorer_of(way))))

    def programs(self, sitting: Sitting) -> Iterator[Program]:
        """See ``sitting.Foreseen``."""
        samples = self.cost(sitting.exam)
        yield sitting.sampled(self.name, samples)
        for scorer in self.scorers_asked():
            yield from sitting.judged(scorer, sitting.prompts * samples)

    def columns(self, answers: Answers, scores_PS: np.ndarray) -> dict[str, np.ndarray]:
        """See ``methods.Summarizing``."""
        columns = Samples(ks=self.ks).columns(answers, scores_PS)
        return columns | {way.name: scores_of_elected(scores_PS, chosen(way, answers)[0]) for way in self.ways}

    def scorer_flops_by_column(self, answers: Answers) -> dict[str, np.ndarray]:
        """See ``methods.Weighing``; single samples and pass@k ask no scorer."""
        plain = Samples(ks=self.ks).tokens_by_column(answers)
        asked = {way.name: scorer_flops(way, answers) for way in self.ways}
        return dict.fromkeys(plain, np.zeros(len(answers.lengths))) | asked

    def tokens_by_column(self, answers: Answers) -> dict[str, np.ndarray]:
        """See ``methods.Spending``."""
        tokens = Samples(ks=self.ks).tokens_by_column(answers)
        return tokens | {way.name: tokens_of(answers, chosen(way, answers)[1], way.size) for way in self.ways}


def chosen(way: Way, answers: Answers) -> tuple[np.ndarray, np.ndarray]:
    """What a way chooses of each problem's samples and how many it takes, [P, V] both, of all disjoint groups."""
    size, (problems, samples) = way.size, answers.lengths.shape
    weighed: dict[int, np.ndarray] = {}
    picked_PV, used_PV = np.zeros((2, problems, samples // size), np.int64)
    for problem in range(problems):
        for number in range(samples // size):
            start = number * size
            group = Group(answers.answers[problem][start : start + size], answers, problem, start, weighed)
            sample, used = way.choose(group)
            if not (NOBODY <= sample < used <= size and used > 0):
                raise InputError(f"{way.name} chose sample {sample} of {used} used, of {size}; it must be one of these")
            picked_PV[problem, number] = NOBODY if sample == NOBODY else start + sample
            used_PV[problem, number] = used
    return picked_PV, used_PV


def tokens_of(answers: Answers, used_PV: np.ndarray, size: int) -> np.ndarray:
    """The tokens [P] of the first samples of each group, as many as were used, on average over a problem's groups."""
    problems, groups = used_PV.shape
    lengths_PVN = answers.lengths[:, : groups * size].reshape(problems, groups, size)
    return np.where(np.arange(size) < used_PV[..., None], lengths_PVN, 0).sum(axis=2).mean(axis=1)


def scorer_flops(way: Way, answers: Answers) -> np.ndarray:
    """The operations [P] of the scorer that a way weighs by, of those samples that it takes, on average over groups.

    A problem's prompt counts with each of its samples, as ``Scorer.cost`` tells. 0 of a way that asks no scorer.
    """
    by = _scorer_of(way)
    if by is None:
        return np.zeros(len(answers.lengths))
    flops_PS, used_PV = answers.judged[by.scorer].flops, chosen(way, answers)[1]
    flops_PVN = flops_PS[:, : used_PV.shape[1] * way.size].reshape(*used_PV.shape, way.size)
    return np.where(np.arange(way.size) < used_PV[..., None], flops_PVN, 0.0).sum(axis=2).mean(axis=1)


def _scorer_of(way: Way) -> ByScorer | None:
    by = getattr(way, "by", None)
    return by if isinstance(by, ByScorer) else None


def _called(by: LogWeights) -> str:
    """What a name says of weights."""
    if isinstance(by, ByScorer):
        return by.name
    return by.score if isinstance(by, Scored) else getattr(by, "__name__", type(by).__name__).lower()


def _log_weights(by: LogWeights, samples: Answers) -> np.ndarray:
    """All samples' log-weights [P, S]. Raises InputError where they are no numbers, or not one a sample."""
    values_PS = np.asarray(by(samples))
    if values_PS.shape != samples.lengths.shape or np.isnan(values_PS).any() or (values_PS == math.inf).any():
        raise InputError(
            f"{function_words(by)} gave weights of shape {values_PS.shape} for samples of shape "
            f"{samples.lengths.shape}, or some that are NaN or infinite; it must give a logarithm a sample"
        )
    return values_PS


def _first_of(winner: str | None, answers: Sequence[str | None]) -> int:
    return NOBODY if winner is None else list(answers).index(winner)
