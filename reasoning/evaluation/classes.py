"""Answers as classes: what no mean over problems tells, such as a macro-F1, and which classes are taken for which.

Shapes: P problems, S replies a problem, C classes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar

import numpy as np

from reasoning.core.errors import InputError
from reasoning.core.ranges import Range
from reasoning.core.signatures import Takes
from reasoning.tasks.answers import answer_value

_MOST_CLASSES = 100
"""Beyond it answers are no classes, but numbers or texts, of which each is right once."""


@dataclass(frozen=True)
class Outcomes:
    """What one method answered: the right class of each problem, the class of each reply, and its probability.

    Classes are numbers of ``labels``, all right answers in alphabetic order; -1 is an answer that is none of them, or
    none at all. ``probability_P`` is that of the likeliest answer, which a method that weighs answers chooses; None for
    methods that weigh none.
    """

    labels: tuple[str, ...]
    right_P: np.ndarray
    given_PS: np.ndarray
    probability_P: np.ndarray | None

    @cached_property
    def replies_PCC(self) -> np.ndarray:
        """Each problem's share of replies by right and given class, [P, C, C + 1]; the last column is none of them."""
        problems, classes = len(self.right_P), len(self.labels)
        shares = np.zeros((problems, classes, classes + 1))
        rows = np.repeat(np.arange(problems), self.given_PS.shape[1])
        places = (rows, np.repeat(self.right_P, self.given_PS.shape[1]), self.given_PS.reshape(-1))
        np.add.at(shares, places, 1 / self.given_PS.shape[1])
        return shares

    def pick(self, rows_P: np.ndarray) -> "Outcomes":
        """Those of some problems, by their numbers."""
        probability_P = None if self.probability_P is None else self.probability_P[rows_P]
        return Outcomes(self.labels, self.right_P[rows_P], self.given_PS[rows_P], probability_P)


Measure = Annotated[Callable[[Outcomes, np.ndarray], float | None], Takes(("outcomes", "weight_P"))]
"""``(outcomes, weight_P) -> a number in 0..1`` of all replies together, each problem counted ``weight_P`` times (0
leaves it out), or None for outcomes that it can't measure, which then have no column. Named in ``exam.measures``."""


def outcomes_of(
    right: Sequence[str],
    given: Sequence[Sequence[str | None]],
    probabilities: Sequence[Mapping[str, float]] = (),
) -> Outcomes:
    """Outcomes from right and given answers; ``probabilities`` are each problem's by answer, or none.

    Answers are compared as everywhere (``tasks.answers.answer_value``). Raises InputError for more right answers than
    can be classes.
    """
    spelled = {answer_value(answer): answer for answer in sorted(right, reverse=True)}
    labels = tuple(sorted(spelled.values()))
    if len(labels) > _MOST_CLASSES:
        raise InputError(
            f"the exam has measures, and its problems have {len(labels)} different right answers; classes are at most "
            f"{_MOST_CLASSES}, so drop measures"
        )
    number = {value: labels.index(answer) for value, answer in spelled.items()}

    def class_of(answer: str | None) -> int:
        return -1 if answer is None else number.get(answer_value(answer), -1)

    given_PS = np.array([[class_of(answer) for answer in answers] for answers in given])
    right_P = np.array([class_of(answer) for answer in right])
    likeliest = [max(by_answer.values()) for by_answer in probabilities]
    return Outcomes(labels, right_P, given_PS, np.array(likeliest) if likeliest else None)


def confusion_CC(outcomes: Outcomes) -> np.ndarray:
    """How many replies of each right class (rows) were given each class (columns, the last: none of them)."""
    return np.rint(outcomes.replies_PCC.sum(axis=0) * outcomes.given_PS.shape[1]).astype(int)


def macro_f1(outcomes: Outcomes, weight_P: np.ndarray) -> float | None:
    """The mean over classes of F1 = 2 TP / (2 TP + FP + FN), so that a rare class counts as much as a common one.

    Over the classes that some answer in the exam is; scikit-learn's ``f1_score(average="macro", labels=…)`` of these.
    Several replies to a problem each count by their share.
    """
    counts_CC = np.tensordot(weight_P, outcomes.replies_PCC, axes=1)
    hits_C = np.diagonal(counts_CC)
    both_C = counts_CC.sum(axis=1) + counts_CC[:, :-1].sum(axis=0)
    seen_C = both_C > 0
    return float(np.mean(2 * hits_C[seen_C] / both_C[seen_C])) if seen_C.any() else None


@dataclass(frozen=True)
class CalibrationError:
    """Expected calibration error: how far the probability of the chosen answers is from how often they are right.

    Choices are sorted into ``bins`` of equal width by their probability; the mean over them of the distance of mean
    probability and share of right ones, by how many each holds (Guo et al. 2017, arXiv 1706.04599, equation 3). With
    few problems in a bin it is too large: chance alone makes a distance. Only of methods that weigh all answers.
    """

    __name__: ClassVar[str] = "calibration_error"  # what columns call it
    bins: Annotated[int, Range(minimum=1, maximum=1000)] = 10

    def __call__(self, outcomes: Outcomes, weight_P: np.ndarray) -> float | None:
        """The error in 0..1."""
        if outcomes.probability_P is None or not weight_P.any():
            return None
        right_P = (outcomes.given_PS[:, 0] == outcomes.right_P).astype(np.float64)
        # A bin holds its upper end, as Guo's; the lowest holds 0 too.
        bin_P = np.clip(np.ceil(outcomes.probability_P * self.bins).astype(int) - 1, 0, self.bins - 1)
        gaps = np.bincount(bin_P, weight_P * (outcomes.probability_P - right_P), self.bins)
        return float(np.abs(gaps).sum() / weight_P.sum())


def independent(outcomes: Outcomes) -> float:
    """As how many problems alike those of unequal classes count in a mean over classes: C² / sum of 1 / size.

    All of them where classes are equally large; three of a rare class carry half of the mean of two.
    """
    sizes_C = np.bincount(outcomes.right_P, minlength=len(outcomes.labels))
    return float(len(sizes_C) ** 2 / (1 / sizes_C[sizes_C > 0]).sum())
