"""Log-likelihoods of texts against whole softmaxes of the same model, in any number of batches and devices."""

import full_softmax
import numpy as np
import pytest
import tiny_stages

from reasoning.core.artifact import Artifact
from reasoning.evaluation.continuations import log_likelihoods

TEXTS = [([5, 6, 7], [8, 9]), ([5], [6]), (list(range(4, 30)), [1, 2, 3]), ([9, 9], [9]), ([7, 8], [8, 9, 10, 11])]


@pytest.fixture(scope="module")
def expected(base: Artifact) -> list[float]:
    candidate = tiny_stages.candidate(base)
    params = candidate.params()
    return [full_softmax.of_text(candidate.model, params, *text) for text in TEXTS]


@pytest.mark.parametrize(("batch", "devices"), [(2, 1), (64, 2)])
def test_a_continuation_s_log_probability_is_the_sum_over_its_tokens(base: Artifact, expected, batch, devices):
    candidate = tiny_stages.candidate(base, devices=devices)
    np.testing.assert_allclose(log_likelihoods(candidate, TEXTS, batch), expected, rtol=1e-4)


def test_no_texts_have_no_likelihoods(base: Artifact):
    assert log_likelihoods(tiny_stages.candidate(base), [], 4).shape == (0,)
