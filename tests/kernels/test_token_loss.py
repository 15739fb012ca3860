"""Which losses are known to treat each token by itself, and what a token weighs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.kernels.token_loss import is_by_token, weights_of

VALUES = np.random.default_rng(0).normal(size=(2, 4, 6)).astype(np.float32)
TABLE = jnp.ones((4, 1))


def ratio(log_probs: Any, values: Any) -> Any:
    return values * jnp.where(values > 0, jnp.exp(log_probs - jax.lax.stop_gradient(log_probs)), jnp.expm1(log_probs))


BY_TOKEN = {
    "a ratio": ratio,
    "clipped": lambda new, values: jnp.clip(new, -1, 1) * values**2,
}
NOT = {
    "a row's mean": lambda new, values: jnp.broadcast_to(new.mean(axis=1, keepdims=True), new.shape) * values,
    "a row's mean of the values": lambda new, values: new * (values - values.mean(axis=1, keepdims=True)),
    "the mean of all": lambda new, values: new * values.mean(),
    "a token before": lambda new, values: new * jnp.roll(values, 1, axis=1),
    "sums so far": lambda new, values: jnp.cumsum(new, axis=1) * values,
    "how many tokens there are": lambda new, values: new * values / new.shape[1],
    "a table": lambda new, values: new * jnp.concatenate([TABLE, TABLE[:, [0] * 5]], axis=1),
    "another shape's error": lambda new, values: new * values.reshape(4, 6),
    "an operation of unknown kind": lambda new, values: jnp.where(values > 0, jnp.sort(new, axis=1), new),
}


@pytest.mark.parametrize("name", BY_TOKEN | NOT)
def test_a_loss_is_by_token_where_its_derivative_is_elementwise_at_any_shape(name: str):
    assert is_by_token((BY_TOKEN | NOT)[name], VALUES[0]) == (name in BY_TOKEN)


def test_a_token_weighs_the_derivative_in_its_log_probability():
    new, values = VALUES
    found = jax.jit(lambda: weights_of(ratio, jnp.asarray(new), jnp.asarray(values)))()
    np.testing.assert_allclose(found, np.where(values > 0, values, values * np.exp(new)), rtol=1e-5)


def test_errors_at_the_arrays_own_shape_are_the_losss():
    def refusing(log_probs: Any, values: Any) -> Any:
        raise InputError(f"refused at {values.shape}")

    with pytest.raises(InputError, match=r"refused at \(4, 6\)"):
        is_by_token(refusing, VALUES[0])
