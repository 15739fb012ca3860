"""One pass over chunks gives the gradients of the definition, whatever is left for the last chunk or strip."""

import jax
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from reasoning.kernels.chunked.one_pass import weighted
from reasoning.kernels.operands import Operands


@jax.jit
def both(targets, weights, *operands):
    given = targets, lambda log_probs, scale: scale * log_probs, weights
    return weighted(Operands(*operands, real_columns=None), *given, lambda own: own, logits_bytes=1)


@pytest.mark.parametrize(("tokens", "columns"), [(1, 1), (3, 37), (25, 11), (300, 64)])
def test_each_token_adds_once_to_each_columns_gradient(tokens, columns):
    random = np.random.default_rng(0)
    hidden, matrix = random.normal(size=(1, tokens, 4)), random.normal(size=(4, columns))
    bias, weights = random.normal(size=columns), random.normal(size=(1, tokens))
    targets = random.integers(0, columns, (1, tokens))
    given = map(np.float32, (weights, hidden, matrix, bias, np.ones((1, tokens))))
    statistics, of_hidden, sums = both(targets[..., None], *given)

    logits = hidden[0] @ matrix + bias
    log_p = np.take_along_axis(log_softmax(logits, axis=-1), targets[0][:, None], axis=-1)
    weighed = weights[0][:, None] * log_p
    expected = weighed * (np.eye(columns)[targets[0]] - softmax(logits, axis=-1))
    found = statistics.target[0] - statistics.shift[0][:, None] - np.log(statistics.total)[0][:, None]
    np.testing.assert_allclose(found, log_p, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(of_hidden[0], expected @ matrix.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sums.unembed_DV, hidden[0].T @ expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(sums.bias_V, expected.sum(axis=0), rtol=1e-4, atol=1e-4)
