"""What process 0 does for all, and what the others hear of it."""

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from reasoning.core.errors import InputError
from reasoning.training.first_process import on_first_process


def fail() -> int:
    raise OSError("the disk is full")


def test_a_process_alone_acts_and_meets_its_own_errors():
    assert on_first_process(lambda: 3) == 3 and on_first_process(lambda: None) == 0
    with pytest.raises(OSError, match="full"):
        on_first_process(fail)


def test_of_several_the_first_acts_and_all_get_its_number_or_fail_with_it(monkeypatch: pytest.MonkeyPatch):
    sent: list[np.ndarray] = []
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: 0)
    monkeypatch.setattr(multihost_utils, "broadcast_one_to_all", lambda told: sent.append(told) or told)
    assert on_first_process(lambda: 7) == 7
    with pytest.raises(OSError, match="full"):
        on_first_process(fail)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(multihost_utils, "broadcast_one_to_all", lambda told: sent.pop(0))
    assert on_first_process(fail) == 7
    with pytest.raises(InputError, match="process 0 could not read or write a checkpoint; its own message says why"):
        on_first_process(fail)
