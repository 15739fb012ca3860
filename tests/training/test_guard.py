"""The guard against spikes: its statistics are numpy's, and it skips what is far out of line and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np

from reasoning.training.guard import Judgement, Seen, SpikeGuard, judge, nothing_seen

GUARD = SpikeGuard(deviations=4.0, window=20)
JUDGE = jax.jit(judge, static_argnums=0)


def judged(values: np.ndarray, guard: SpikeGuard = GUARD) -> tuple[list[bool], Seen]:
    """Which of the losses [n] are spikes, at a gradient norm of 1 each, and what has been seen in the end."""
    seen, spikes = nothing_seen(), []
    for value in values:
        found: Judgement = JUDGE(guard, seen, jnp.float32(value), jnp.float32(1.0))
        spikes.append(bool(found.spike))
        seen = seen if found.spike else found.after
    return spikes, seen


def test_mean_and_variance_are_those_of_all_updates_until_the_window_is_full():
    values = np.random.default_rng(0).normal(3.0, 0.5, 20)
    _, seen = judged(values)
    np.testing.assert_allclose(seen.mean, [values.mean(), 1.0], rtol=1e-5)
    np.testing.assert_allclose(seen.variance, [values.var(), 0.0], rtol=1e-4, atol=1e-9)


def test_then_older_ones_are_forgotten_exponentially():
    values = np.random.default_rng(1).normal(3.0, 0.5, 120)
    spikes, seen = judged(values, SpikeGuard(deviations=50.0, window=20))
    mean, variance = values[:20].mean(), values[:20].var()
    for value in values[20:]:
        apart = value - mean
        mean, variance = mean + apart / 20, 0.95 * (variance + apart**2 / 20)
    assert not any(spikes) and int(seen.count) == 20
    np.testing.assert_allclose([seen.mean[0], seen.variance[0]], [mean, variance], rtol=1e-4)


def test_a_loss_far_above_the_others_is_skipped_and_one_far_below_is_not():
    values = np.random.default_rng(2).normal(3.0, 0.1, 60)
    values[5] = values[40] = 9.0
    values[50] = 0.0
    spikes, _ = judged(values)
    assert np.flatnonzero(spikes).tolist() == [40]  # the early one comes before anything is judged


def test_without_a_guard_nothing_is_a_spike_and_nothing_is_remembered():
    found = judge(None, None, jnp.float32(1e30), jnp.float32(1.0))
    assert not found.spike and found.after is None and found.metrics == {}
