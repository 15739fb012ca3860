"""The seam of scorers: what numbers become of a reply's steps, and where its steps end."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.core.errors import InputError
from reasoning.evaluation.scorers import Cost, aggregated, last, mean, minimum, product, read_by, step_ends, total

PIECES = ("a", "b", ";", ";;", "a;", ";b", "; ", "\n", "\n\n", ".\n\n", "")


class Pieces:
    """The part of a tokenizer that is asked here: ids are places in ``PIECES``."""

    def decode_batch(self, rows, keep_special: bool = True, lenient: bool = False) -> list[str]:
        return ["".join(PIECES[token] for token in row) for row in rows]


@pytest.mark.parametrize(
    ("aggregate", "expected"), [(last, 0.25), (mean, 0.5), (minimum, 0.25), (product, 0.09375), (total, 1.5)]
)
def test_scores_of_steps_become_one_number(aggregate: Callable[[np.ndarray], float], expected: float):
    steps = [np.array([0.75, 0.5, 0.25]), np.array([0.5])]
    np.testing.assert_array_equal(aggregated(aggregate, steps), [expected, 0.5])


def test_what_is_no_weight_is_refused():
    for wrong in (-1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="of a reply's scores; it must give a finite number that is not below 0"):
            aggregated(lambda scores_E, value=wrong: value, [np.ones(1)])


@settings(max_examples=200)
@given(st.lists(st.integers(0, len(PIECES) - 1), min_size=1, max_size=12), st.sampled_from([";", "\n\n", "a;", ""]))
def test_a_step_ends_with_the_token_that_completes_a_separator(reply: list[int], separator: str):
    ends = step_ends(Pieces(), reply, separator)
    # A reply so far holds as many separators as ends, the newest of which may be several in one token.
    text_of = [PIECES[token] for token in reply]
    so_far = ["".join(text_of[: count + 1]) for count in range(len(reply))]
    completed = [text.count(separator) if separator else 0 for text in so_far]
    expected = {at for at in range(len(reply)) if completed[at] > (completed[at - 1] if at else 0)}
    assert ends == sorted(expected | {len(reply) - 1})


def test_a_reply_without_tokens_has_no_steps():
    assert step_ends(Pieces(), [], ";") == []


class Counting:
    """A scorer that gives a step the share of its place in the reply, and reads a token for a token."""

    separator = ";"

    def scores(self, prompts, replies, ends) -> list[np.ndarray]:
        return [(np.array(own) + 1) / len(reply) for reply, own in zip(replies, ends, strict=True)]

    def cost(self, prompts, replies, ends) -> Cost:
        read = [len(prompt) + len(reply) for prompt, reply in zip(prompts, replies, strict=True)]
        return Cost(np.array(read), 10.0 * np.array(read))


def test_replies_are_read_step_by_step_and_what_nobody_wrote_is_not():
    replies = [[0, 2, 1, 2], [], [1]]
    steps_R, cost = read_by(Counting(), Pieces(), [[1], [1, 1], [1, 1, 1]], replies)
    assert [each.tolist() for each in steps_R] == [[0.5, 1.0], [0.0], [1.0]]
    assert (cost.tokens_R.tolist(), cost.flops_R.tolist()) == ([5, 0, 4], [50.0, 0.0, 40.0])
