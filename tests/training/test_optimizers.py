"""Schedules and AdamW against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from reasoning.training.optimizers import AdamW, decayed, rate


@pytest.mark.parametrize(
    ("count", "share"), [(0, 0.25), (1, 0.5), (3, 1.0), (50, 1.0), (75, 1.0), (85, 0.62), (95, 0.24), (100, 0.05)]
)
def test_the_rate_warms_up_stays_and_falls_linearly_to_its_final_share(count: int, share: float):
    np.testing.assert_allclose(rate(count, 2.0, 4.0, 75.0, 25.0, 0.05), 2 * share, rtol=1e-6)


def test_without_a_decay_share_the_rate_stays_flat_to_the_end():
    settings = AdamW(0.1)
    params = {"w": jnp.ones(2)}
    optimizer = settings.build(3)
    state = optimizer.init(params)
    for _ in range(3):
        change, state = optimizer.update({"w": jnp.ones(2)}, state, params)
        np.testing.assert_allclose(change["w"], -0.1, rtol=1e-4)  # Adam's first steps on equal gradients are sign steps


def test_updates_equal_optax_adamw_with_clip_and_mask():
    settings = AdamW(3e-3, warmup=2, beta1=0.8, beta2=0.9, epsilon=1e-6, weight_decay=0.1, clip_norm=0.5)
    generator = np.random.default_rng(0)
    params = {"w": jnp.asarray(generator.normal(size=(3, 2))), "norm": {"scale": jnp.ones(3)}}
    other = optax.chain(
        optax.clip_by_global_norm(0.5),
        optax.adamw(
            lambda count: 3e-3 * jnp.minimum((count + 1) / 2, 1), 0.8, 0.9, 1e-6, weight_decay=0.1, mask=decayed
        ),
    )
    ours = settings.build(10)
    states, trees = [ours.init(params), other.init(params)], [params, params]
    for _ in range(4):
        gradient = jax.tree.map(lambda leaf: jnp.asarray(generator.normal(size=leaf.shape)), params)
        for index, optimizer in enumerate((ours, other)):
            change, states[index] = optimizer.update(gradient, states[index], trees[index])
            trees[index] = optax.apply_updates(trees[index], change)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), *trees)


def test_norm_scales_and_biases_are_not_decayed():
    tree = {"attention": {"query": 0, "query_bias": 0}, "mlp_norm": {"scale": 0}, "embedding": 0}
    assert decayed(tree) == {
        "attention": {"query": True, "query_bias": False},
        "mlp_norm": {"scale": False},
        "embedding": True,
    }


def test_settings_are_state_so_that_stages_share_one_compiled_step():
    params = {"w": jnp.ones(2)}
    texts = []
    for settings, steps in ((AdamW(0.1, warmup=3), 10), (AdamW(0.2, decay_share=0.5, weight_decay=0.3), 99)):
        optimizer = settings.build(steps)
        state = optimizer.init(params)
        texts.append(jax.jit(optimizer.update).lower(params, state, params).as_text())
    assert texts[0] == texts[1]


def test_all_transformations_have_the_very_same_update_by_which_stages_find_their_step():
    one, other = AdamW(0.1, warmup=3).build(10), AdamW(0.2, decay_share=0.5).build(99)
    assert one.update is other.update and one.init is not other.init
