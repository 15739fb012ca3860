from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reasoning.core.errors import InputError
from reasoning.core.statistics import (
    Interval,
    difference_over_problems,
    difference_over_seeds,
    mean_over_problems,
    mean_with_interval,
    pass_at_k,
    statistic_over_problems,
    together,
)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_paper_s_formula_in_exact_fractions(case):
    samples, correct, k = case
    exact = 1 - Fraction(comb(samples - correct, k), comb(samples, k))
    assert pass_at_k(np.array([correct]), samples, k)[0] == pytest.approx(float(exact), rel=1e-12, abs=0)


def test_pass_at_k_keeps_its_digits_where_the_chance_is_tiny():
    # One right sample of n: the chance is k / n exactly, far below the rounding of 1 - (1 - 1e-9).
    assert pass_at_k(np.array([1]), 10**9, 1)[0] == pytest.approx(1e-9, rel=1e-12, abs=0)


def test_pass_at_k_is_unbiased_and_the_plug_in_is_not():
    samples, k, chance = 16, 8, 0.1
    probability = stats.binom.pmf(np.arange(samples + 1), samples, chance)
    expected = (probability * pass_at_k(np.arange(samples + 1), samples, k)).sum()
    plug_in = (probability * (1 - (1 - np.arange(samples + 1) / samples) ** k)).sum()
    assert expected == pytest.approx(1 - (1 - chance) ** k, rel=1e-12)
    assert abs(plug_in - expected) > 0.01


@pytest.mark.parametrize(("correct", "samples", "k"), [([3], 16, 17), ([3], 16, 0), ([17], 16, 1), ([-1], 16, 1)])
def test_pass_at_k_refuses_counts_that_cannot_be(correct, samples, k):
    with pytest.raises(InputError):
        pass_at_k(np.array(correct), samples, k)


def draw(generator, mean, problems, samples, concentration):
    """Right or wrong samples of problems whose difficulties follow a beta distribution around ``mean``."""
    chance = generator.beta(mean * concentration, (1 - mean) * concentration, problems)
    return (generator.random((problems, samples)) < chance[:, None]).astype(float)


@pytest.mark.parametrize("mean", [0.05, 0.5, 0.97])
@pytest.mark.parametrize("concentration", [1.0, 4.0, 1e6], ids=["very unequal", "unequal", "equal"])
def test_the_interval_over_problems_covers_the_truth(mean, concentration):
    generator = np.random.default_rng(1)
    intervals = [mean_over_problems(draw(generator, mean, 128, 16, concentration)) for _ in range(400)]
    assert np.mean([not interval.excludes(mean) for interval in intervals]) >= 0.9


SHAPES = [(16, 16), (64, 4), (64, 16), (128, 16), (512, 16)]
"""Problems and samples of each, as small and as large as exams are."""


def coverage_of_means(problems, samples, mean, concentration, trials):
    generator = np.random.default_rng([problems, samples, int(1000 * mean), int(10 * concentration)])
    chance_NP = generator.beta(mean * concentration, (1 - mean) * concentration, (trials, problems))
    right_NPS = generator.random((trials, problems, samples)) < chance_NP[..., None]
    return np.mean([not mean_over_problems(values).excludes(mean) for values in right_NPS])


def coverage_of_differences(problems, samples, before, after, concentration, trials):
    """Two models for which hard problems are the same ones: chances of equal rank in two beta distributions."""
    generator = np.random.default_rng([problems, samples, int(1000 * before), int(10 * concentration)])
    ranks = (np.arange(4000) + 0.5) / 4000
    first, second = (
        stats.beta.ppf(ranks, mean * concentration, (1 - mean) * concentration) for mean in (before, after)
    )
    chosen_NP = generator.integers(len(ranks), size=(trials, problems))
    truth = second.mean() - first.mean()
    later, earlier = (generator.binomial(samples, chances[chosen_NP]) / samples for chances in (second, first))
    found = [difference_over_problems(*pair) for pair in zip(later, earlier, strict=True)]
    return np.mean([not interval.excludes(truth) for interval in found])


def least(trials):
    """94 %, less what a simulation of so many trials may miss it by (3.3 standard errors: once in 2,000 cells)."""
    return 0.94 - 3.3 * np.sqrt(0.94 * 0.06 / trials)


@pytest.mark.parametrize(
    "cell", [(64, 16, 0.01, 2.0), (64, 16, 0.03, 0.3), (16, 16, 0.97, 2.0), (128, 16, 0.01, 0.3), (64, 4, 0.5, 50.0)]
)
def test_means_near_the_ends_are_covered_too(cell):
    # Student's t and Wilson's interval with the design effect cover 86 to 90 % of the first four.
    assert coverage_of_means(*cell, trials=1000) >= least(1000)


@pytest.mark.parametrize(
    "cell", [(64, 16, 0.02, 0.05, 0.3), (64, 16, 0.97, 0.99, 0.3), (16, 16, 0.9, 0.95, 2.0), (64, 4, 0.5, 0.55, 2.0)]
)
def test_differences_near_the_ends_are_covered_too(cell):
    # Student's t covers 83 to 90 % of the first three.
    assert coverage_of_differences(*cell, trials=1000) >= least(1000)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_all_intervals_cover_what_they_claim(shape):
    trials = 400
    means = {
        (mean, concentration): coverage_of_means(*shape, mean, concentration, trials)
        for mean in (0.01, 0.03, 0.1, 0.5, 0.97)
        for concentration in (0.3, 2.0, 50.0)
    }
    pairs = ((0.01, 0.02), (0.02, 0.05), (0.9, 0.95), (0.5, 0.55), (0.97, 0.99))
    differences = {
        (*pair, concentration): coverage_of_differences(*shape, *pair, concentration, trials)
        for pair in pairs
        for concentration in (0.3, 2.0)
    }
    missed = {cell: found for cell, found in (means | differences).items() if found < least(trials)}
    assert not missed
    assert np.mean([*means.values(), *differences.values()]) >= 0.95


@pytest.mark.parametrize("mean", [0.02, 0.5, 0.95])
@pytest.mark.parametrize("concentration", [0.3, 50.0])
def test_of_equal_models_no_more_than_one_in_twenty_is_told_apart(mean, concentration):
    generator = np.random.default_rng(6)
    chance_NP = generator.beta(mean * concentration, (1 - mean) * concentration, (1000, 64))
    first, second = (generator.binomial(16, chance_NP) / 16 for _ in range(2))
    claimed = [difference_over_problems(*pair).clear for pair in zip(first, second, strict=True)]
    assert np.mean(claimed) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000)


def test_in_the_middle_the_interval_is_as_wide_as_the_spread_of_problems_makes_it():
    generator = np.random.default_rng(7)
    for problems, concentration in ((64, 0.3), (64, 2.0), (128, 2.0), (512, 50.0)):
        values_NPS = np.array([draw(generator, 0.5, problems, 16, concentration) for _ in range(100)])
        ours = [mean_over_problems(values) for values in values_NPS]
        low, high = stats.ttest_1samp(values_NPS.mean(axis=2), 0, axis=1).confidence_interval(0.95)
        assert np.mean([each.high - each.low for each in ours]) == pytest.approx(np.mean(high - low), rel=0.03)


SHARES = st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=2, max_size=12)


@given(SHARES)
def test_wrong_is_the_mirror_of_right(values):
    values = np.array(values)
    right, wrong = mean_over_problems(values), mean_over_problems(1 - values)
    assert (right.low, right.high) == pytest.approx((1 - wrong.high, 1 - wrong.low), abs=1e-9)


@given(SHARES)
def test_a_difference_is_the_mirror_of_its_opposite_and_holds_its_mean(values):
    first = np.array(values)
    second = np.roll(first, 1, axis=0) ** 2
    one, other = difference_over_problems(first, second), difference_over_problems(second, first)
    assert (one.low, one.high, one.p_value) == pytest.approx((-other.high, -other.low, other.p_value), abs=1e-9)
    assert -1 <= one.low <= one.mean <= one.high <= 1


@given(SHARES)
def test_a_single_difference_is_clear_where_its_interval_leaves_out_zero(values):
    first = np.array(values)
    found = difference_over_problems(first, first**3)
    assert found.p_value is not None
    if abs(found.p_value - 0.05) > 1e-9:
        assert found.clear == found.excludes(0)


def test_holms_steps_are_those_of_the_paper():
    # The smallest of m is taken m times, the next m - 1 times, and none is below the one before.
    found = together([Interval(0.1, 0.0, 0.2, 9, p) for p in (0.04, 0.01, 0.03, 0.005)])
    assert [each.p_value for each in found] == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert [each.clear for each in found] == [False, True, False, True]
    assert together([]) == ()
    with pytest.raises(InputError, match="p-value"):
        together([mean_over_problems(np.ones(4))])


def test_among_many_comparisons_of_equals_a_false_claim_is_rare_and_a_true_difference_is_found():
    generator = np.random.default_rng(8)
    alone, false, found = [], [], []
    for _ in range(300):
        chance_P = generator.beta(1, 1, 128)
        answers = [generator.binomial(16, chance_P) / 16 for _ in range(20)]
        better = generator.binomial(16, np.minimum(chance_P + 0.1, 1)) / 16
        # All are compared with the first: such differences depend on each other.
        differences = [difference_over_problems(each, answers[0]) for each in [*answers[1:], better]]
        claimed = [each.clear for each in together(differences)]
        alone.append(any(each.clear for each in differences[:-1]))
        false.append(any(claimed[:-1]))
        found.append(claimed[-1])
    assert np.mean(alone) > 0.2
    assert np.mean(false) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)
    assert np.mean(found) > 0.95


def test_samples_taken_as_independent_would_not_cover():
    generator = np.random.default_rng(2)
    covered = []
    for _ in range(400):
        values = draw(generator, 0.5, 128, 16, 1.0)
        flat = mean_over_problems(values.reshape(-1))
        covered.append(not flat.excludes(0.5))
    assert np.mean(covered) < 0.6


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_the_interval_has_width_at_the_extremes_and_stays_within_bounds(value):
    interval = mean_over_problems(np.full((128, 16), value))
    assert interval.mean == value
    assert interval.low <= value <= interval.high
    # The rule of three: none of n leaves up to about 3 / n open.
    assert 2 / 128 < interval.high - interval.low < 5 / 128
    assert 0 <= interval.low <= interval.high <= 1


def test_one_sample_a_problem_gives_wilson_s_interval():
    values = np.array([1.0] * 30 + [0.0] * 970)
    theirs = stats.binomtest(30, 1000).proportion_ci(method="wilson")
    ours = mean_over_problems(values)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=0.01)
    assert ours.count == 1000


def test_equal_means_of_all_problems_do_not_claim_more_than_all_samples_know():
    values = np.tile([1.0, 0.0], (50, 8))
    theirs = stats.binomtest(400, 800).proportion_ci(method="wilson")
    ours = mean_over_problems(values)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=0.01)


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=20))
def test_every_interval_of_shares_holds_its_mean_and_lies_within_zero_and_one(values):
    interval = mean_over_problems(np.array(values))
    assert 0 <= interval.low <= interval.mean <= interval.high <= 1


def test_one_problem_tells_nothing():
    assert mean_over_problems(np.ones((1, 16))) == Interval(1.0, 0.0, 1.0, 1)
    assert difference_over_problems(np.ones((1, 16)), np.zeros((1, 16))) == Interval(1.0, -1.0, 1.0, 1, 1.0)


def test_the_interval_over_seeds_is_scipy_s_t_interval():
    values = np.array([0.91, 0.94, 0.97, 0.90, 0.95])
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    interval = mean_with_interval(values)
    assert (interval.mean, interval.low, interval.high) == pytest.approx((values.mean(), low, high))
    assert interval.count == 5


def test_the_interval_over_five_seeds_covers_the_truth_in_95_of_100():
    generator = np.random.default_rng(3)
    intervals = [mean_with_interval(generator.normal(0.8, 0.05, 5)) for _ in range(2000)]
    assert abs(np.mean([not interval.excludes(0.8) for interval in intervals]) - 0.95) < 0.02


def test_one_seed_leaves_everything_open():
    interval = mean_with_interval(np.array([0.9]))
    assert (interval.mean, interval.low, interval.high, interval.count) == (0.9, -np.inf, np.inf, 1)
    assert not interval.excludes(0.0)


def test_the_difference_over_seeds_is_scipy_s_paired_t_interval():
    generator = np.random.default_rng(4)
    seed_effect = generator.normal(0, 1, 6)
    first, second = seed_effect + generator.normal(0.1, 0.01, 6), seed_effect + generator.normal(0, 0.01, 6)
    low, high = stats.ttest_rel(first, second).confidence_interval(0.95)
    interval = difference_over_seeds(first, second)
    assert (interval.low, interval.high, interval.count) == (pytest.approx(low), pytest.approx(high), 6)
    assert interval.p_value == pytest.approx(stats.ttest_rel(first, second).pvalue)
    assert interval.excludes(0.0)


@pytest.mark.parametrize("gain", [0.0, 0.05])
def test_the_difference_over_problems_covers_the_truth(gain):
    generator = np.random.default_rng(5)
    covered = []
    for _ in range(400):
        chance = generator.beta(2, 1, 128) * (1 - gain)
        first = generator.random((128, 16)) < (chance + gain)[:, None]
        second = generator.random((128, 16)) < chance[:, None]
        covered.append(not difference_over_problems(first, second).excludes(gain))
    assert np.mean(covered) >= 0.92


def test_two_models_that_are_always_right_cannot_be_told_apart_exactly():
    interval = difference_over_problems(np.ones((128, 16)), np.ones((128, 16)))
    assert interval.mean == 0
    assert interval.low == -interval.high
    assert 2 / 128 < interval.high < 5 / 128


def test_arms_may_have_different_numbers_of_samples_but_not_of_problems():
    assert difference_over_problems(np.ones((8, 4)), np.zeros(8)).mean == 1.0
    with pytest.raises(InputError, match="one by one"):
        difference_over_problems(np.ones((8, 4)), np.ones((7, 4)))
    with pytest.raises(InputError, match="one by one"):
        difference_over_seeds(np.ones(5), np.ones(4))


@pytest.mark.parametrize("values", [[], [np.nan, 1.0], [np.inf, 1.0]])
@pytest.mark.parametrize("function", [mean_over_problems, mean_with_interval])
def test_values_that_are_no_data_are_refused(function, values):
    with pytest.raises(InputError, match="finite"):
        function(np.array(values))


def test_values_of_the_wrong_kind_are_refused():
    with pytest.raises(InputError, match=r"0\.\.1"):
        mean_over_problems(np.array([0.5, 1.5]))
    with pytest.raises(InputError, match=r"\(N,\)"):
        mean_with_interval(np.ones((4, 2)))


def without_each(values):
    """The mean without each value."""
    return (values.sum() - values) / (len(values) - 1)


@pytest.mark.parametrize("mean", [0.1, 0.5, 0.9])
def test_of_a_mean_the_jackknife_gives_the_interval_of_a_mean(mean):
    values = (np.random.default_rng(3).random(64) < mean).astype(float)
    known = mean_over_problems(values)
    found = statistic_over_problems(float(values.mean()), without_each(values), len(values))
    assert (found.low, found.high) == pytest.approx((known.low, known.high), rel=1e-9) and found.count == 64


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_statistic_without_spread_has_an_interval_by_how_many_problems_are_alike(value):
    wide, narrow = (statistic_over_problems(value, np.full(64, value), alike) for alike in (16.0, 64.0))
    known = mean_over_problems(np.full(64, value))
    assert (narrow.low, narrow.high) == pytest.approx((known.low, known.high))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low) and wide.low <= value <= wide.high


def test_one_problem_says_nothing_of_a_statistic():
    found = statistic_over_problems(0.5, np.array([0.5]), 1.0)
    assert (found.low, found.high) == (0.0, 1.0)
    with pytest.raises(InputError):
        statistic_over_problems(0.5, np.array([]), 1.0)
