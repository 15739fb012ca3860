"""Log-likelihoods of texts against whole softmaxes of the same model, in any number of batches and devices."""

import jax.numpy as jnp
import numpy as np
import pytest
import tiny_stages

from reasoning.core.artifact import Artifact
from reasoning.evaluation.continuations import log_likelihoods

TEXTS = [([5, 6, 7], [8, 9]), ([5], [6]), (list(range(4, 30)), [1, 2, 3]), ([9, 9], [9]), ([7, 8], [8, 9, 10, 11])]


def by_softmax(candidate, before, after) -> float:
    ids = jnp.array([[*before, *after]])
    params = candidate.params()
    hidden, _ = candidate.model.hidden_states(params, ids, jnp.arange(ids.shape[1])[None], jnp.ones_like(ids))
    logits = np.asarray(hidden @ candidate.model.unembedding(params), np.float64)[0]
    log_probs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    return sum(log_probs[at - 1, ids[0, at]] for at in range(len(before), ids.shape[1]))


@pytest.mark.parametrize(("batch", "devices"), [(2, 1), (64, 2)])
def test_a_continuation_s_log_probability_is_the_sum_over_its_tokens(base: Artifact, batch, devices):
    candidate = tiny_stages.candidate(base, devices=devices)
    expected = [by_softmax(tiny_stages.candidate(base), *text) for text in TEXTS]
    np.testing.assert_allclose(log_likelihoods(candidate, TEXTS, batch), expected, rtol=1e-4)


def test_no_texts_have_no_likelihoods(base: Artifact):
    assert log_likelihoods(tiny_stages.candidate(base), [], 4).shape == (0,)
