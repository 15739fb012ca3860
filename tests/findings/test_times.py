"""Speed, shares and utilization are those of the formula, and absent where nothing tells them."""

import pytest

from reasoning.findings.times import peak_of, time_words, times_of

V5E = {"environments": [{"device": {"kind": "TPU v5 lite", "count": 4}}]}
CPU = {"environments": [{"device": {"kind": "cpu", "count": 4}}]}
TIMINGS = [
    {"step": 1, "seconds": 60.0, "update": 60.0},
    {"step": 2, "seconds": 2.0, "rollout": 1.5, "update": 0.5, "steps": 9},
    {"step": 3, "seconds": 3.0, "rollout": 1.0, "update": 1.0, "checkpoint": 1.0},
]
METRICS = [{"step": step, "tokens": 1000, "flops": 1e15} for step in (1, 2, 3)]


def test_the_first_step_which_compiles_is_left_out():
    times = times_of(TIMINGS, METRICS, V5E)
    assert times is not None and times.steps == 3 and times.step == 2.5
    assert times.shares == pytest.approx({"rollout": 0.5, "update": 0.3, "checkpoint": 0.2})
    assert times.tokens == 400
    assert times.utilization == pytest.approx(2e15 / 5 / (4 * 197e12))
    assert list(time_words(times)) == [
        "2.5 s a step", "400 tokens/s", "MFU 50.8%", "rollout 50%, update 30%, checkpoint 20%",
    ]  # fmt: skip


def test_devices_without_published_peaks_have_no_utilization():
    times = times_of(TIMINGS, METRICS, CPU)
    assert times is not None and times.utilization is None and peak_of({}) is None
    assert not any("MFU" in word for word in time_words(times))


def test_a_single_step_and_strange_rows_are_no_error():
    assert times_of([], [], {}) is None
    odd = times_of([{"step": 1, "seconds": 2.0}, {"step": "x", "seconds": "y"}], [{"step": 1}], V5E)
    assert odd is not None and odd.step == 2.0 and odd.tokens == 0 and odd.shares == {}
    assert list(time_words(odd)) == ["2 s a step"]
