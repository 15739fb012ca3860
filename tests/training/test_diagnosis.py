"""Each kind of trouble is told where it begins and not in runs that go well, by the definitions of the docstrings."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from reasoning.core.history import History
from reasoning.core.jumps import Roles
from reasoning.training import diagnosis
from reasoning.training.diagnosis import CHECKS, HACKING, STARVATION, Check, Limits, Subject

LIMITS = Limits()
ROWS = Subject(by_loss=True, by_rewards=False, steps=1000)
REWARDS = Subject(by_loss=False, by_rewards=True, steps=1000)
N = 40
CHANCE = np.random.default_rng(0)


def history(**series: Sequence[float] | np.ndarray) -> History:
    """Metrics over the steps; ``a__b`` is the metric ``a/b``."""
    found = History()
    for step in range(max(map(len, series.values()))):
        row = {name.replace("__", "/"): values[step] for name, values in series.items() if step < len(values)}
        found.add(step + 1, row)
    return found


def noisy(*levels: float, noise: float = 0.01) -> np.ndarray:
    """A course through levels at equal distances."""
    return np.interp(np.linspace(0, 1, N), np.linspace(0, 1, len(levels)), levels) + CHANCE.normal(0, noise, N)


def told(check: Check, subject: Subject, limits: Limits = LIMITS, **series: Sequence[float] | np.ndarray) -> str:
    return check(history(**series), subject, limits) or ""


GOOD: Mapping[str, np.ndarray] = {
    "reward": noisy(0.1, 0.5, 0.9),
    "entropy": noisy(0.3, 0.1, 0.02, noise=0.001),
    "completions__mean_length": noisy(16, 30, 40),
    "completions__clipped_ratio": noisy(0.0, 0.01, noise=0.001),
    "frac_reward_zero_std": noisy(0.0, 0.2, 0.5),
    "sampling__sampling_logp_difference__mean": noisy(0.01, 0.01, noise=0.001),
    "grad_norm": noisy(0.4, 0.2, 0.5),
    "loss": noisy(-0.5, -0.05),
    "skipped": np.zeros(N),
}


@pytest.mark.parametrize("kind", CHECKS)
def test_a_run_that_goes_well_is_left_alone(kind: str):
    for end in range(1, N + 1):
        assert not told(CHECKS[kind], REWARDS, **{name: values[:end] for name, values in GOOD.items()})


@pytest.mark.parametrize(
    ("check", "changes", "words"),
    [
        (
            diagnosis.entropy_collapse,
            {"entropy": noisy(0.5, 0.01, 0.01, noise=0.001), "reward": noisy(0.3, 0.3)},
            "entropy fell from 0.",
        ),
        (
            diagnosis.length_runaway,
            {"completions__mean_length": noisy(20, 60, 64), "completions__clipped_ratio": noisy(0, 0.9, 1)},
            "the limit cuts off 9",
        ),
        (diagnosis.mismatch, {"sampling__sampling_logp_difference__mean": noisy(0.01, 0.2)}, "nats apart"),
        (diagnosis.divergence, {"skipped": np.arange(N)}, "the last 39 updates were skipped"),
        (diagnosis.divergence, {"grad_norm": noisy(0.1, 0.1, 500, 500)}, "the gradient norm rose from 0."),
        (diagnosis.divergence, {"reward": noisy(0.2, 0.8, 0.9, 0.1, 0.1)}, "the reward fell from 0."),
        (diagnosis.divergence, {"reward": noisy(0.2, 0.2), "entropy": noisy(0.5, 3, 4)}, "replies become noise"),
    ],
)
def test_trouble_is_told(check: Check, changes: Mapping[str, np.ndarray], words: str):
    assert words in told(check, REWARDS, **{**GOOD, **changes})


@pytest.mark.parametrize(
    "losses", [noisy(2.0, 1.0, 0.8, 2.5, 3.0), np.array([4.0, *[1e5] * 12]), noisy(0.05, 0.05, 0.9, 0.9)]
)
def test_a_loss_of_tokens_that_rises_diverges(losses: np.ndarray):
    assert "the loss rose from" in told(diagnosis.divergence, ROWS, loss=losses)
    assert not told(diagnosis.divergence, REWARDS, loss=losses)


def test_a_loss_of_tokens_without_any_gradient_trains_nothing():
    dead = {"loss": np.full(N, 4.0), "grad_norm": np.where(np.arange(N) < 3, 1.0, 0.0)}
    assert "no gradient has come of the last 5 steps" in told(diagnosis.divergence, ROWS, **dead)
    assert not told(diagnosis.divergence, ROWS, **_cut(dead, 7)) and not told(diagnosis.divergence, REWARDS, **dead)


def test_a_loss_that_falls_or_is_small_and_wanders_does_not():
    assert not told(diagnosis.divergence, ROWS, loss=noisy(5, 2, 1, 1, noise=0.1))
    assert not told(diagnosis.divergence, ROWS, loss=noisy(0.05, 0.01, 0.1, 0.02))


def test_rewards_without_signal_are_told_after_an_epoch_between_three_and_ten_steps():
    equal, reward = np.ones(N), np.full(N, 0.3)
    for epoch, needed in ((20.0, 10), (4.0, 4), (1.0, 3)):
        seen = {"frac_reward_zero_std": equal, "reward": reward, "epoch": np.arange(1, N + 1) / epoch}
        lengths = (length for length in range(1, N) if told(diagnosis.without_signal, REWARDS, **_cut(seen, length)))
        assert next(lengths) == needed
    assert "every reward was 0.3" in told(diagnosis.without_signal, REWARDS, **seen)
    ungraded = {"frac_reward_zero_std": equal * np.nan, "reward": reward * np.nan}
    assert "no reply was graded" in told(diagnosis.without_signal, REWARDS, **ungraded)
    apart = {"frac_reward_zero_std": equal, "reward": noisy(0.1, 0.9)}
    assert "equal within every group" in told(diagnosis.without_signal, replace(REWARDS, steps=3), **apart)
    once = np.where(np.arange(N) == N - 5, 0.9, 1.0)
    assert not told(diagnosis.without_signal, REWARDS, frac_reward_zero_std=once, reward=reward)


def _cut(series: Mapping[str, np.ndarray], length: int) -> dict[str, np.ndarray]:
    return {name: values[:length] for name, values in series.items()}


def test_a_reward_that_jumps_alone_is_told_some_steps_later():
    jump = np.where(np.arange(80) < 40, 0.2, 0.9) + CHANCE.normal(0, 0.02, 80)
    flat = 0.3 + CHANCE.normal(0, 0.02, 80)
    subject = replace(REWARDS, roles=Roles(correct="strict"))
    series = {"rewards__tagged__mean": jump, "rewards__strict__mean": flat}
    lengths = (length for length in range(1, 80) if told(diagnosis.reward_hacking, subject, **_cut(series, length)))
    assert 60 <= next(lengths) <= 64
    assert "the reward tagged jumped from 0.2" in told(diagnosis.reward_hacking, subject, **series)
    assert CHECKS[HACKING] is diagnosis.reward_hacking
    both = {"rewards__tagged__mean": jump, "rewards__strict__mean": jump}
    assert not told(diagnosis.reward_hacking, subject, **both)


def test_a_probe_that_answers_the_same_while_the_model_learns_is_stale():
    def probed(value: float, change: float, reward: np.ndarray) -> str:
        found = History()
        for step in range(1, N + 1):
            row = {"reward": reward[step - 1]}
            if step % 4 == 0:
                row |= {"probe/strict": value, "probe/mean_length": 1.0 + change * step}
            found.add(step, row)
        return diagnosis.stale_probe(found, REWARDS, LIMITS) or ""

    rising = noisy(0.1, 0.9)
    assert "2 numbers of the probe have been the very same 5 times" in probed(0.0, 0.0, rising)
    assert not probed(0.0, 0.1, rising) and not probed(1.0, 0.0, noisy(0.9, 0.9))


def test_a_step_that_waits_for_data_starves():
    slow = diagnosis.starvation(history(data=np.full(N, 0.8), seconds=np.ones(N)), ROWS, LIMITS)
    assert slow is not None and slow.startswith("80% of a step, 0.8 s") and STARVATION not in CHECKS
    for data, seconds in ((0.4, 1.0), (0.004, 0.005)):
        assert diagnosis.starvation(history(data=[data] * N, seconds=[seconds] * N), ROWS, LIMITS) is None
