import math

import numpy as np
import pytest

from reasoning.findings.curves import averaged, charts, moving_average, series_of


def rows(count, **metrics):
    return [{"step": step, **{name: value(step) for name, value in metrics.items()}} for step in range(1, count + 1)]


def names(metrics):
    return {chart.title: [series.name for series in chart.series] for chart in charts(metrics)}


def test_metrics_of_one_unit_share_a_chart_and_the_total_reward_comes_first():
    found = names(
        [
            {
                "step": 1, "rewards/tagged/mean": 1, "rewards/strict/mean": 0, "reward": 1, "probe/strict": 0.5,
                "completions/correct_mean_length": 3, "completions/mean_length": 2, "probe/mean_length": 9,
                "loss": 1, "entropy": 2, "kl": 3, "grad_norm": 4, "reward_std": 1,
            }
        ]
    )  # fmt: skip
    assert found == {
        "Reward": ["reward", "rewards/strict/mean", "rewards/tagged/mean"],
        "Reply length": ["completions/mean_length", "completions/correct_mean_length", "probe/mean_length"],
        "Loss": ["loss"],
        "Entropy": ["entropy"],
        "Probe: held-out problems": ["probe/strict"],
        "Divergence": ["kl"],
    }


def test_a_loss_that_is_its_cross_entropy_is_one_line_and_another_is_two():
    same = rows(9, cross_entropy=lambda step: 4.0 / step, loss=lambda step: 4.0 / step + 1e-6)
    other = rows(9, cross_entropy=lambda step: 4.0 / step, loss=lambda step: 5.0 / step)
    assert names(same)["Loss"] == ["loss"] and names(other)["Loss"] == ["loss", "cross_entropy"]


def test_two_probe_scores_that_agree_are_both_shown():
    assert names(rows(9, **{"probe/a": float, "probe/b": float}))["Probe: held-out problems"] == ["probe/a", "probe/b"]


def test_the_moving_average_is_the_mean_of_a_point_and_those_just_before_it():
    points = tuple((float(step), math.sin(step)) for step in range(90))
    window = averaged(90)
    values = [value for _, value in points]
    expected = [np.mean(values[max(0, k + 1 - window) : k + 1]) for k in range(90)]
    assert window == 6 and [value for _, value in moving_average(points)] == pytest.approx(expected)


def test_steps_that_lack_a_metric_or_hold_no_number_are_left_out():
    found = series_of([{"step": 1, "a": 2}, {"step": 2}, {"step": 3, "a": None}, {"a": 1}, {"step": 4, "a": True}], "a")
    assert found is not None and found.raw == ((1.0, 2.0),) and series_of([], "a") is None


def test_ends_are_means_of_the_first_and_the_last_points():
    found = series_of(rows(150, a=float), "a")
    assert found is not None and found.first == pytest.approx(5.5) and found.last == pytest.approx(145.5)
