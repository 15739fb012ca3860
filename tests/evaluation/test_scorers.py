"""The seam of scorers: what numbers become of a reply's steps, and where its steps end."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.core.errors import InputError
from reasoning.evaluation.scorers import aggregated, last, mean, minimum, product, step_ends, total

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


@settings(max_examples=200, deadline=None)
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
