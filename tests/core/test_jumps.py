"""A jump that nothing follows is found in bare series, where it is; ``tests/report/test_jumps.py`` has the cases."""

import numpy as np

from reasoning.core.jumps import Jump, Roles, find_jumps


def test_a_step_of_one_series_is_found_and_one_that_another_follows_is_not():
    chance = np.random.default_rng(0)
    steps = np.arange(1.0, 81.0)
    flat, jumping = chance.normal(0.3, 0.02, 80), np.where(steps < 41, 0.2, 0.8) + chance.normal(0, 0.02, 80)
    series = {name: tuple(zip(steps, values, strict=True)) for name, values in (("a", jumping), ("b", flat))}
    [found] = find_jumps(series, {}, Roles())
    assert isinstance(found, Jump) and found.reward == "a" and abs(found.step - 41) <= 1 and set(found.others) == {"b"}
    assert find_jumps({**series, "b": series["a"]}, {}, Roles()) == ()
    assert find_jumps(series, {}, Roles(weightless=frozenset({"a"}))) == ()
