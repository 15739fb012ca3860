"""What prompts are padded to."""

import pytest

from reasoning.generation.padding import PromptShapes, padded


def test_rows_that_fill_up_have_no_length():
    prompts, lengths = padded([[7, 8, 9]], 6, PromptShapes(longest=0, multiple=8, context=64, room=20))
    assert prompts.shape == (8, 16) and lengths.tolist() == [3] + [0] * 7
    assert prompts[0].tolist() == [7, 8, 9] + [0] * 13 and not prompts[1:].any()


@pytest.mark.parametrize(
    ("length", "longest", "context", "time"),
    [
        (17, 0, 64, 32),  # Nothing is known: a power of two.
        (17, 35, 128, 48),  # What is known, in sixteens.
        (17, 35, 64, 44),  # No more than the context leaves.
        (33, 25, 64, 44),  # Longer than what is known.
        (33, 25, 128, 64),
    ],
)
def test_prompts_are_padded_in_sixteens_to_what_is_known_beforehand(length, longest, context, time):
    assert padded([[5] * length], 1, PromptShapes(longest, 1, context, room=20))[0].shape == (1, time)
