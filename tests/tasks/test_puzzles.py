import random
from collections import Counter

import pytest

from reasoning.core.errors import InputError
from reasoning.tasks.chains import Chains
from reasoning.tasks.puzzles import Puzzle, check_range, distinct, interleave_at_random, worked_steps
from reasoning.tasks.splits import split_of

PUZZLE = Puzzle("3", ("+8", "-5", "+9"))


def numbered(number: int) -> Puzzle:
    return Puzzle(str(number), ())


def test_steps_are_written_as_in_the_documentation():
    assert PUZZLE.question == "3+8-5+9?"
    assert worked_steps(Chains(), PUZZLE) == ("3+8=1,1-5=6,6+9=5", "5")
    assert worked_steps(Chains(), PUZZLE, moves=2) == ("3+8-5=6,6+9=5", "5")


def test_a_wrong_step_is_carried_on():
    steps = worked_steps(Chains(), Puzzle("3", ("+8", "-5")), 1, lambda value: str((int(value) + 1) % 10))
    assert steps == ("3+8=2,2-5=8", "8")


@pytest.mark.parametrize("split", ["train", "test"])
def test_distinct_puzzles_are_all_of_a_split_and_each_comes_once(split):
    found = [puzzle.question for puzzle in distinct(random.Random(0), 300, numbered, split)]
    assert Counter(found) == Counter(f"{n}?" for n in range(300) if split_of(f"{n}?") == split)
    assert found != sorted(found)


def test_pools_are_equally_likely_until_they_are_empty():
    pools = [
        distinct(random.Random(1), size, lambda number, name=name: Puzzle(name, (str(number),)), "train")
        for name, size in (("short", 40), ("long", 4000))
    ]
    drawn = [puzzle.start for puzzle in interleave_at_random(random.Random(2), pools)]
    assert 10 < drawn[:40].count("short") < 30
    assert drawn.count("short") > 30 and drawn.count("long") > 3500 and "short" not in drawn[200:]


def test_a_range_upside_down_is_refused():
    with pytest.raises(InputError, match="Cups has minimum_swaps=4 above maximum_swaps=3"):
        check_range(4, 3, "swaps", "Cups")
