import random
import re

import pytest

from reasoning.core.errors import InputError
from reasoning.tasks.cups import CUPS, SWAPS, Cups, game_number, number_of_games
from reasoning.tasks.puzzles import Puzzle, solve, worked_steps
from reasoning.tasks.splits import split_of


def shell_game(question: str) -> str:
    """The same game with five real cups on a table."""
    table = {cup: cup == question[0] for cup in CUPS}
    for one, other in re.findall("~(.)(.)", question):
        table[one], table[other] = table[other], table[one]
    return next(cup for cup, ball in table.items() if ball)


def test_answers_are_those_of_real_cups():
    for problem in Cups().problems("test", 300, 0):
        assert problem.answer == shell_game(problem.question) and problem.kind == "cups"


def test_steps_follow_the_ball():
    assert worked_steps(Cups(), Puzzle("c", ("~ac", "~de"))) == ("c~ac=a,a~de=a", "a")


def test_numbering_names_every_game_once():
    assert number_of_games(2) == 500
    assert len({game_number(number, 2).question for number in range(500)}) == 500


def test_problems_are_distinct_and_of_their_split_and_of_every_length():
    problems = Cups(2, 4).problems("train", 400, 3)
    assert len({problem.question for problem in problems}) == 400
    assert all(split_of(problem.question) == "train" for problem in problems)
    assert {problem.question.count("~") for problem in problems} == {2, 3, 4}
    assert problems[:50] == Cups(2, 4).problems("train", 50, 3) != Cups(2, 4).problems("train", 50, 4)


def test_trained_games_are_train_games_and_facts_are_single_swaps():
    generator = random.Random(0)
    games = [Cups(1, 3).puzzle(generator) for _ in range(300)]
    assert all(split_of(game.question) == "train" for game in games)
    assert {len(game.moves) for game in games} == {1, 2, 3}
    assert {len(Cups().fact(generator).moves) for _ in range(50)} == {1}


def test_every_value_is_reached_equally_often():
    answers = [solve(Cups(), game_number(number, 2)) for number in range(500)]
    assert {answers.count(cup) for cup in Cups().values} == {100}


def test_a_swap_is_one_symbol():
    symbols = Cups().symbols
    assert len(SWAPS) == 10 and len(set(symbols)) == len(symbols)
    longest_first = re.compile("|".join(sorted(map(re.escape, symbols), key=len, reverse=True)))
    assert longest_first.findall("c~ac~de?") == ["c", "~ac", "~de", "?"]


def test_swaps_upside_down_are_refused():
    with pytest.raises(InputError, match="minimum_swaps=5 above maximum_swaps=4"):
        Cups(5, 4)
