"""Labels of steps: completions go on from the step's end, are graded whole, and their shares are the labels."""

from collections.abc import Iterator

import jax
import numpy as np
import pytest
import tiny_stages
from hypothesis import given
from hypothesis import strategies as st
from tiny_stages import NEW_TOKENS, TRAIN, early_end, questions_for

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.rollouts.sampling import TruncatedSampling
from reasoning.stages import step_labels
from reasoning.stages.step_labels import NO_LABEL, Prefix, Steps, Writer, any_right, groups_of, labels_of, share

SAMPLING = TruncatedSampling(problems=TRAIN, max_new_tokens=NEW_TOKENS, samples=4)


@pytest.fixture(scope="module")
def writer(base: Artifact) -> Iterator[Writer]:
    candidate = tiny_stages.candidate(base)
    longest = max(map(len, questions_for(candidate).prompts))
    yield Writer(SAMPLING, candidate.model, candidate.mesh, candidate.tokenizer, candidate.weights, longest)


def test_rules():
    assert (share(3, 4), any_right(3, 4), any_right(0, 4)) == (0.75, 1.0, 0.0)
    with pytest.raises(InputError, match="the steps' separator is empty"):
        Steps(separator="")


@given(st.integers(1, 200), st.integers(1, 60), st.integers(0, 80))
def test_every_prefix_has_a_group_that_reads_it_and_leaves_room_in_the_context(limit: int, longest: int, spare: int):
    context = longest + limit + spare
    groups = groups_of(limit, longest, context)
    assert [read for read, _ in groups] == sorted(read for read, _ in groups) and len(groups) <= 16
    assert groups[-1][0] == longest + limit - 1
    assert all(room >= 1 and read + room <= context for read, room in groups)


def test_completions_go_on_from_where_a_step_ended(writer: Writer, base: Artifact):
    questions = questions_for(tiny_stages.candidate(base))
    written = [[5], [5, 6, 7], list(range(4, 11))]
    prefixes = [Prefix(number, questions.prompts[number], each) for number, each in enumerate(written)]
    whole = writer.completions(prefixes, 5, jax.random.key(0))
    assert whole.tokens.shape == (3, 5, NEW_TOKENS)
    for number, before in enumerate(written):
        assert (whole.tokens[number, :, : len(before)] == before).all()
        assert (whole.lengths[number] > len(before)).all() and (whole.lengths[number] <= NEW_TOKENS).all()
    assert len({tuple(each) for each in whole.tokens[0].tolist()}) > 1
    again = writer.completions(prefixes, 5, jax.random.key(0))
    np.testing.assert_array_equal(whole.tokens, again.tokens)


def test_a_step_s_label_is_the_share_of_right_completions_and_the_last_one_s_is_the_reply_s(
    writer: Writer, base: Artifact, monkeypatch: pytest.MonkeyPatch
):
    questions = questions_for(tiny_stages.candidate(base))
    rollouts = writer.replies(questions.prompts, 0, 4, jax.random.key(1))
    graded: list[np.ndarray] = []
    right_of = step_labels._right
    monkeypatch.setattr(step_labels, "_right", lambda *given: graded.append(right_of(*given)) or graded[-1])
    steps = Steps(separator="=", completions=4)
    found, drawn = labels_of(
        writer, questions.problems, questions.prompts, rollouts, early_end, steps, jax.random.key(2)
    )
    own_PS, whole_QK = graded
    np.testing.assert_array_equal(own_PS, ~rollouts.truncated)
    assert [each.labels[-1] for each in found] == own_PS.reshape(-1).tolist() and drawn > 0
    shares = [label for each in found for label in each.labels[:-1]]
    np.testing.assert_allclose(shares, whole_QK.mean(axis=1))
    plain, none = labels_of(writer, questions.problems, questions.prompts, rollouts, early_end, None, jax.random.key(2))
    assert none == 0 and [each.ends for each in plain] == [[len(each.reply) - 1] for each in plain]

    def only_of_replies(completions: list[str], **columns: object) -> list[float | None]:
        return [None if len(completions) > 16 else 1.0 for _ in completions]

    assert len(shares) * 4 > 16
    given = (writer, questions.problems, questions.prompts, rollouts)
    found, _ = labels_of(*given, only_of_replies, steps, jax.random.key(2))
    assert {label for each in found for label in each.labels[:-1]} == {NO_LABEL}
