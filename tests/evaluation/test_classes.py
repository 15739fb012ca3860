"""Classes: macro-F1, calibration error and confusions against their formulas, by hand, in exact fractions and float64.

Shapes: P problems, S replies a problem, C classes.
"""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.core.errors import InputError
from reasoning.core.statistics import statistic_over_problems
from reasoning.evaluation.classes import CalibrationError, Outcomes, confusion_CC, independent, macro_f1, outcomes_of

answers = st.sampled_from(["cat", "dog", "emu"])
pairs = st.lists(st.tuples(answers, st.none() | answers | st.just("cow")), min_size=1, max_size=30)


def ones(count: int) -> np.ndarray:
    return np.ones(count)


@given(pairs)
def test_macro_f1_is_the_mean_of_harmonic_means_of_precision_and_recall(rows):
    right, chosen = zip(*rows, strict=True)
    scores = []
    for label in sorted(set(right)):
        hits = sum(one == other == label for one, other in rows)
        precision = Fraction(hits, chosen.count(label)) if chosen.count(label) else Fraction(0)
        recall = Fraction(hits, right.count(label))
        scores.append(2 * precision * recall / (precision + recall) if hits else Fraction(0))
    outcomes = outcomes_of(right, [[answer] for answer in chosen])
    assert macro_f1(outcomes, ones(len(rows))) == pytest.approx(float(sum(scores) / len(scores)), abs=1e-12)


def test_macro_f1_by_hand():
    # cat: 2 of 3 found, 1 of 3 called so wrong: 2*2/(2*2+1+1) = 2/3. dog: 1 of 2, 0 wrong: 2/(2+1) = 2/3. emu: 0.
    right, chosen = ["cat", "cat", "cat", "dog", "dog", "emu"], ["cat", "cat", None, "dog", "cat", "cow"]
    outcomes = outcomes_of(right, [[answer] for answer in chosen])
    assert macro_f1(outcomes, ones(6)) == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    np.testing.assert_array_equal(confusion_CC(outcomes), [[2, 0, 0, 1], [1, 1, 0, 0], [0, 0, 0, 1]])


@given(pairs, st.data())
def test_a_weight_counts_a_problem_so_often(rows, data):
    weights = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)).filter(any))
    repeated = [row for row, weight in zip(rows, weights, strict=True) for _ in range(weight)]
    whole = outcomes_of([right for right, _ in rows], [[chosen] for _, chosen in rows])
    # Classes are those of the whole exam, so a class that the weights leave out is in neither mean.
    kept = whole.pick(np.array([row for row, weight in enumerate(weights) for _ in range(weight)]))
    assert len(kept.right_P) == len(repeated)
    assert macro_f1(whole, np.array(weights, float)) == pytest.approx(macro_f1(kept, ones(len(repeated))))


def test_each_reply_counts_by_its_share_and_answers_are_compared_as_everywhere():
    outcomes = outcomes_of(["6", "7"], [["6.0", "7"], ["$7", "7"]])
    np.testing.assert_array_equal(confusion_CC(outcomes), [[1, 1, 0], [0, 2, 0]])
    assert macro_f1(outcomes, ones(2)) == pytest.approx((2 * 0.5 / (1 + 0.5) + 2 * 1 / (1 + 1.5)) / 2)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40), st.integers(1, 20))
def test_the_calibration_error_is_the_formula(rows, bins):
    probability, hit = (np.array(each) for each in zip(*rows, strict=True))
    expected = 0.0
    for place in range(bins):
        low, high = place / bins, (place + 1) / bins
        inside = np.array([np.ceil(each * bins) - 1 == place or (place == 0 and each <= 0) for each in probability])
        assert all(low - 1e-9 <= each <= high + 1e-9 for each in probability[inside])
        if inside.any():
            gap = abs(probability[inside].mean() - hit[inside].mean())
            expected += inside.mean() * gap
    chosen = [["yes" if each else "no"] for each in hit]
    weighed = [{answer: share} for [answer], share in zip(chosen, probability, strict=True)]
    outcomes = outcomes_of(["yes"] * len(rows), chosen, weighed)
    assert CalibrationError(bins=bins)(outcomes, ones(len(rows))) == pytest.approx(expected, abs=1e-9)


def test_the_calibration_error_by_hand():
    # Bin (.8, .9]: three of .85, two right: |.85 - 2/3|. Bin (.4, .5]: one of .5, right: .5. Weights 3/4 and 1/4.
    right, chosen = ["a"] * 4, ["a", "b", "a", "a"]
    weighed = [{"a": 0.85, "b": 0.15}, {"a": 0.15, "b": 0.85}, {"a": 0.85, "b": 0.15}, {"a": 0.5, "b": 0.5}]
    outcomes = outcomes_of(right, [[answer] for answer in chosen], weighed)
    assert CalibrationError()(outcomes, ones(4)) == pytest.approx(0.75 * (0.85 - 2 / 3) + 0.25 * 0.5)


def test_what_draws_its_answers_has_no_calibration_error():
    outcomes = outcomes_of(["a", "b"], [["a", "a"], ["b", "a"]])
    assert CalibrationError()(outcomes, ones(2)) is None and macro_f1(outcomes, ones(2)) is not None


def test_problems_of_equal_classes_are_all_alike_and_of_unequal_ones_count_less():
    assert independent(outcomes_of(["a", "b"] * 8, [["a"]] * 16)) == pytest.approx(16)
    assert independent(outcomes_of(["a"] * 15 + ["b"], [["a"]] * 16)) == pytest.approx(4 / (1 / 15 + 1))


def test_answers_that_are_all_different_are_no_classes():
    numbers = [str(number) for number in range(101)]
    with pytest.raises(InputError, match="101 different right answers; classes are at most 100, so drop measures"):
        outcomes_of(numbers, [[number] for number in numbers])


@pytest.mark.parametrize(("shares", "hit"), [((1 / 3, 1 / 3, 1 / 3), 0.9), ((0.6, 0.3, 0.1), 0.6)])
def test_the_interval_of_a_macro_f1_covers_the_truth(shares, hit):
    generator = np.random.default_rng(5)

    def drawn(count: int) -> tuple[np.ndarray, np.ndarray]:
        right = generator.choice(3, count, p=shares)
        wrong = (right + generator.integers(1, 3, count)) % 3
        return right, np.where(generator.random(count) < hit, right, wrong)

    right, chosen = drawn(400_000)
    truth = np.mean([
        2 * ((right == label) & (chosen == label)).sum() / ((right == label).sum() + (chosen == label).sum())
        for label in range(3)
    ])  # fmt: skip
    covered = 0
    for _ in range(150):
        right, chosen = drawn(64)
        outcomes = Outcomes(("0", "1", "2"), right, chosen[:, None], None)
        left_out = [macro_f1(outcomes, 1.0 - (np.arange(64) == row)) for row in range(64)]
        value = macro_f1(outcomes, ones(64))
        assert value is not None
        found = statistic_over_problems(value, np.array(left_out), independent(outcomes))
        covered += not found.excludes(float(truth))
    assert covered >= 0.9 * 150
