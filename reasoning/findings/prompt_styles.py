"""How much more a checkpoint is right where it is asked in one way than in another, over the same problems.

Where an exam asks step by step and at once, this is where thinking helps, kind by kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from reasoning.core.statistics import Interval, together
from reasoning.findings.evaluations import AS_ASKED, Answered, Evaluation, kinds_of, paired_difference, sampled
from reasoning.findings.scores import main_score


@dataclass(frozen=True)
class StylePair:
    """One checkpoint asked in two styles; the exam's own has no name."""

    checkpoint: str
    style: str
    other: str


@dataclass(frozen=True)
class StyleDifferences:
    """How much more of ``score`` each pair's first style has, over all problems and then for each of ``kinds``.

    None where samples don't tell. The p-values are corrected for all of them together.
    """

    score: str
    kinds: tuple[str, ...]
    rows: Mapping[StylePair, tuple[Interval | None, ...]]


def style_differences(evaluation: Evaluation) -> StyleDifferences | None:
    """Every two styles that a checkpoint was asked in, in the order of the file, the exam's own last.

    Only replies of one method are compared: a mean over samples is no greedy reply. None where no two can be.
    """
    score = (main_score(evaluation) or "").partition("/")[0]
    all_kinds = kinds_of(evaluation.samples)
    kinds = all_kinds if len(all_kinds) > 1 else ()
    answered = {**evaluation.restyled, AS_ASKED: evaluation.samples}
    found: dict[tuple[StylePair, int], Interval] = {}
    for checkpoint in evaluation.checkpoints:
        for style, other in combinations(answered, 2):
            sides = _of_one_method(answered[style].get(checkpoint, {}), answered[other].get(checkpoint, {}))
            for place, kind in enumerate((None, *kinds)):
                one = paired_difference(*sides, score, kind)
                if one is not None:
                    found[StylePair(checkpoint, style, other), place] = one
    corrected = dict(zip(found, together(list(found.values())), strict=True))
    pairs = dict.fromkeys(pair for pair, _ in found)
    rows = {pair: tuple(corrected.get((pair, place)) for place in range(1 + len(kinds))) for pair in pairs}
    return StyleDifferences(score, kinds, rows) if rows else None


def _of_one_method(
    left: Mapping[int, Answered], right: Mapping[int, Answered]
) -> tuple[Mapping[int, Answered], Mapping[int, Answered]]:
    """Both sides without the problems whose most samples are of different methods."""
    alike = [number for number in left.keys() & right.keys() if _method(left[number]) == _method(right[number])]
    return ({number: left[number] for number in alike}, {number: right[number] for number in alike})


def _method(answered: Answered) -> str:
    return sampled(answered).method
