from dataclasses import FrozenInstanceError

import pytest

from reasoning.core.progress import Progress


def test_a_report_keeps_the_order_of_its_numbers_and_can_not_change():
    progress = Progress("zero", 1, 5, {"reward": 0.5, "loss": 0.1})
    assert list(progress.values) == ["reward", "loss"]
    with pytest.raises(FrozenInstanceError):
        progress.step = 2


def test_a_stage_that_counts_nothing_reports_no_numbers_and_no_tokens():
    first, second = Progress("base", 0, 5), Progress("zero", 0, 5)
    assert (first.values, first.tokens) == ({}, 0) and first.values is not second.values
