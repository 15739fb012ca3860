"""The soft punishment of long replies is that of DAPO."""

import pytest

from reasoning.core.errors import InputError
from reasoning.rewards.overlong import OverlongPunishment
from reasoning.rewards.reward import reward_name


def test_it_is_zero_then_falls_to_minus_one_as_in_dapo():
    """arXiv 2503.14476, eq. 13, with its L_max = 20480 and L_cache = 4096."""
    punishment = OverlongPunishment(20480, 4096)
    lengths = [1, 16384, 16385, 18432, 20479, 20480, 20481]
    expected = [0.0, 0.0, -1 / 4096, -0.5, -4095 / 4096, -1.0, -1.0]
    assert punishment(["?"] * 7, ["."] * 7, lengths=lengths, kind=[""] * 7) == expected
    assert reward_name(punishment) == "overlong_punishment"


def test_a_margin_beyond_the_maximum_is_refused():
    with pytest.raises(InputError, match="margin is 9 tokens, more than the maximum of 8"):
        OverlongPunishment(8, 9)
