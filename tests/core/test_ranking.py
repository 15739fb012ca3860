"""Ranks against all pairs."""

import numpy as np
import pytest

from reasoning.core.ranking import ranked_right


def test_ranked_right_is_the_share_of_pairs_in_order():
    chance = np.random.default_rng(0)
    values, right = chance.integers(0, 6, 40) / 6, chance.random(40) < 0.4
    pairs = [(one > other) + 0.5 * (one == other) for one in values[right] for other in values[~right]]
    assert ranked_right(values, right) == pytest.approx(np.mean(pairs))
    assert np.isnan(ranked_right(values, np.ones(40, bool)))
