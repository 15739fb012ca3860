import pytest

from reasoning.rewards.repetition import Unrepetitive, repeated_share, repetition
from reasoning.rollouts.rating import reward_name


@pytest.mark.parametrize(
    ("text", "size", "share"),
    [("", 3, 0.0), ("ab", 3, 0.0), ("abc", 3, 0.0), ("abcdef", 3, 0.0), ("aaaa", 3, 0.5), ("abcabc", 3, 0.25)],
)
def test_the_share_is_of_stretches_that_came_before(text, size, share):
    assert repeated_share(text, size) == pytest.approx(share)


def test_worked_steps_are_not_a_loop_but_the_same_steps_over_and_over_are():
    steps = "3+8=1,1-5=6,6+9=5,5-2=3,3+7=0,0+4=4"
    keep = Unrepetitive()
    loop = "3+8=1,1-8=3," * 5
    assert keep(prompts=["", ""], completions=[steps, loop]) == [1.0, 0.0]
    assert repetition(prompts=["", ""], completions=[steps, loop]) == [0.0, pytest.approx(1 - 12 / 51)]
    assert reward_name(keep) == "unrepetitive"
