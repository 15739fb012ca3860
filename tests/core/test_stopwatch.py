"""Each second of a step counts once, for the innermost part around it."""

import pytest

from reasoning.core.stopwatch import Stopwatch


def test_a_part_within_another_is_taken_off_the_outer_one():
    now = [0.0]
    watch = Stopwatch(lambda: now[0])

    def pass_by(seconds: float) -> None:
        now[0] += seconds

    for _ in range(2):
        with watch.part("data"):
            pass_by(1)
            with watch.part("rollout"):
                pass_by(2)
                with watch.part("reward"):
                    pass_by(4)
            with watch.part("reward"):
                pass_by(8)
            pass_by(16)
        with watch.part("update"):
            pass_by(32)
    assert watch.lap() == {"data": 34, "rollout": 4, "reward": 24, "update": 64}
    assert watch.lap() == {}


def test_what_raises_counts_too():
    now = [0.0]
    watch = Stopwatch(lambda: now[0])
    with pytest.raises(KeyError), watch.part("update"):
        now[0] = 3.0
        raise KeyError
    assert watch.lap() == {"update": 3}
