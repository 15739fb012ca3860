"""Votes as rewards: of small groups by hand, and of groups by chance against counting pair by pair."""

import numpy as np

from reasoning.data.chat.format import ChatFormat
from reasoning.rollouts.rating import rate
from reasoning.rollouts.votes import agreement, vote_share
from reasoning.tasks.problems import Problem

TEXTS = [["=2", "=3", "=2.0", ""], ["=5", "=5", "=4", "=4"]]
CUT = np.array([[False, False, False, False], [True, False, False, False]])


def test_two_groups_by_hand():
    problems = [Problem("1+1?", "2", "sums"), Problem("2+2?", "4", "sums")]
    values = rate((agreement, vote_share), problems, TEXTS, CUT, np.ones(CUT.shape, int), ChatFormat()).values
    # 2 and 2.0 are one answer, and outvote 3; the first 5 was cut off, so that 4 has two votes and 5 has one.
    np.testing.assert_array_equal(values["agreement"], [[1, 0, 1, 0], [0, 0, 1, 1]])
    np.testing.assert_array_equal(values["vote_share"], [[0.5, 0.25, 0.5, 0], [0, 0.25, 0.5, 0.5]])


def test_of_equals_the_first_is_elected_and_nobody_agrees_with_nothing():
    problems, texts = [Problem("1+1?", "2", "sums")] * 2, [["=3", "=2"], ["", ""]]
    kinds = [Problem("1+1?", "2", "sums"), Problem("4?", "2", "sums")]
    free, lengths = np.zeros((2, 2), bool), np.ones((2, 2), int)
    np.testing.assert_array_equal(
        rate((agreement,), kinds, texts, free, lengths, ChatFormat()).values["agreement"], [[1, 0], [0, 0]]
    )
    # A problem that stands there twice in a row is one group: by its prompt nobody can tell.
    shares = rate((vote_share,), problems, texts, free, lengths, ChatFormat()).values["vote_share"]
    np.testing.assert_array_equal(shares, [[0.25, 0.25], [0, 0]])


def test_groups_by_chance_are_counted_pair_by_pair():
    generator = np.random.default_rng(3)
    numbers_PS = generator.integers(0, 4, (30, 7))
    problems = [Problem(f"{number}?", "1", "sums") for number in range(30)]
    texts = [[f"={number}" for number in row] for row in numbers_PS]
    cut_PS, lengths_PS = generator.random((30, 7)) < 0.2, np.ones((30, 7), int)
    values = rate((agreement, vote_share), problems, texts, cut_PS, lengths_PS, ChatFormat()).values
    same_PSS = (numbers_PS[:, :, None] == numbers_PS[:, None]) & ~cut_PS[:, :, None] & ~cut_PS[:, None]
    votes_PS = same_PSS.sum(axis=2)
    np.testing.assert_allclose(values["vote_share"], votes_PS / 7)
    elected_P = numbers_PS[np.arange(30), votes_PS.argmax(axis=1)]
    np.testing.assert_array_equal(values["agreement"], (numbers_PS == elected_P[:, None]) & ~cut_PS)
