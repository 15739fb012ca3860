"""Attention against float64 numpy, written from the definition."""

import jax.numpy as jnp
import numpy as np
import pytest

from reasoning.models.attend import Form, attend, form_on_cpu
from reasoning.models.config import ModelConfig, Stack

SIZES = {"vocabulary": 8, "width": 16, "heads": 4, "kv_heads": 2, "mlp_width": 8, "stacks": (Stack(1),), "context": 16}


def arrays(values: int = 4):
    random = np.random.default_rng(0)
    shapes = [(2, 5, 4, 4), (2, 2, 7, 4), (2, 2, 7, values)]
    return [2 * random.normal(size=shape) for shape in shapes], random.uniform(size=(2, 5, 7)) < 0.5


def by_hand(query, key, value, allowed, scale, cap, sinks=None):
    out = np.zeros((2, 5, 4, value.shape[-1]))
    for row, time, head in np.ndindex(2, 5, 4):
        scores = scale * key[row, head // 2] @ query[row, time, head]
        scores = cap * np.tanh(scores / cap) if cap else scores
        weights = np.exp(scores) * allowed[row, time]
        total = weights.sum() + (0 if sinks is None else np.exp(sinks[head]))
        out[row, time, head] = (weights / total) @ value[row, head // 2]
    return out


def check(config: ModelConfig, scale: float, cap: float, values: int = 4):
    (query, key, value), allowed = arrays(values)
    allowed[..., 0] = True
    found = attend(*(jnp.asarray(x, jnp.float32) for x in (query, key, value)), jnp.asarray(allowed), config)
    np.testing.assert_allclose(found, by_hand(query, key, value, allowed, scale, cap), rtol=1e-4, atol=1e-5)


def test_it_is_the_weighted_mean_of_values_by_the_softmax_of_scaled_products():
    check(ModelConfig(**SIZES), 0.5, 0.0)


@pytest.mark.parametrize("form", ["keys first", "by query"])
@pytest.mark.parametrize("cap", [0.0, 1.5])
def test_written_in_another_form_it_is_the_same(cap: float, form: Form):
    (query, key, value), allowed = arrays(values=6)
    allowed[..., 0] = True
    config, sinks = ModelConfig(**SIZES, attention_soft_cap=cap), jnp.asarray([-1.0, 0.5, 3.0, 2.0])
    given = *(jnp.asarray(x, jnp.float32) for x in (query, key, value)), jnp.asarray(allowed), config, sinks
    np.testing.assert_allclose(attend(*given, form=form), attend(*given), rtol=1e-5, atol=1e-6)


def test_the_scale_may_be_given():
    check(ModelConfig(**SIZES, attention_scale=0.2), 0.2, 0.0)


def test_a_soft_cap_bounds_scores_before_the_mask():
    check(ModelConfig(**SIZES, attention_soft_cap=1.5), 0.5, 1.5)


def test_a_heads_sink_takes_weight_and_gives_nothing():
    (query, key, value), allowed = arrays()
    allowed[..., 0] = True
    sinks = np.array([-1.0, 0.5, 3.0, 40.0])
    given = (jnp.asarray(x, jnp.float32) for x in (query, key, value))
    found = attend(*given, jnp.asarray(allowed), ModelConfig(**SIZES), jnp.asarray(sinks, jnp.float32))
    np.testing.assert_allclose(found, by_hand(query, key, value, allowed, 0.5, 0.0, sinks), rtol=1e-4, atol=1e-5)


def test_values_may_be_of_another_size_than_keys():
    check(ModelConfig(**SIZES), 0.5, 0.0, values=6)


def test_keys_in_a_wider_type_than_queries_change_nothing():
    (query, key, value), allowed = arrays(values=6)
    allowed[..., 0] = True
    narrow = [jnp.asarray(x, jnp.bfloat16) for x in (query, key, value)]
    wide = [narrow[0], *(x.astype(jnp.float32) for x in narrow[1:])]
    found, expected = (attend(*given, jnp.asarray(allowed), ModelConfig(**SIZES)) for given in (wide, narrow))
    assert found.dtype == expected.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(jnp.float32), expected.astype(jnp.float32), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("queries", "time", "able", "form"),
    [
        (2, 1, True, "plain"),
        (6, 1, True, "by query"),
        (6, 1, False, "keys first"),
        (6, 2, True, "plain"),
        (64, 1, True, "plain"),
    ],
)
def test_one_new_token_of_grouped_queries_has_a_form_of_its_own(
    queries: int, time: int, able: bool, form: Form, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("reasoning.core.processor.has", lambda instructions: able)
    assert form_on_cpu(jnp.zeros((1, time, queries, 4)), jnp.zeros((1, 2, 8, 4))) == form
