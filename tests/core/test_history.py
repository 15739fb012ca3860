"""Courses of metrics keep their shape in bounded memory, and levels are medians of windows."""

import math

import numpy as np

from reasoning.core.history import History, history_of
from reasoning.core.series import levels


def test_a_million_steps_keep_their_course_and_their_last_point():
    history = History()
    for step in range(1, 20_001):
        history.add(step, {"loss": step / 20_000, "note": "nan"})
    points = history.points("loss")
    assert 1024 <= len(points) <= 2048 and points[-1][0] == 20_000 and math.isnan(history.last("note"))
    steps, values = np.array(points).T
    assert np.all(np.diff(steps) > 0) and np.abs(values - steps / 20_000).max() <= 16 / 20_000
    assert len(history.values("note")) == 0 and history.points("other") == ()


def test_it_is_that_of_the_rows_of_a_record():
    rows = [{"step": step, "loss": 1.0 / step, "probe/strict": 0.5} for step in (1, 2, 3)]
    history = history_of(rows)
    assert history.points("loss") == ((1.0, 1.0), (2.0, 0.5), (3.0, 1 / 3))
    assert history.names("probe/") == ("probe/strict",) and history.names("", "oss") == ("loss",)


def test_levels_are_medians_of_all_windows():
    values = np.random.default_rng(0).normal(size=40)
    assert levels(values, 7).tolist() == [float(np.median(values[at : at + 7])) for at in range(34)]
    assert levels(values, 41).size == 0
