"""The best of what was trained is found, kept and told, and nothing that a resumed run may ask for goes."""

import math
from collections.abc import Callable
from operator import gt, lt
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from reasoning.core.errors import InputError
from reasoning.training.best import Best
from reasoning.training.state import TrainState, new_state


def state(value: float) -> TrainState:
    return new_state({"w": jnp.full(3, value)}, optax.sgd(1.0))


def best(folder: Path, better: Callable[[float, float], bool] = gt) -> Best:
    return Best(folder, 1, 3, metric="best/w", measure=lambda state: float(state.params["w"][0]), better=better)


def test_the_first_of_equal_measures_is_kept(tmp_path: Path):
    keeper = best(tmp_path)
    told = [keeper.look(step, state(value)) for step, value in enumerate((0.0, 0.5, 0.25, 0.5), start=1)]
    assert told == [{"best/w": value} for value in (0.0, 0.5, 0.25, 0.5)]
    assert (keeper.step, keeper.value) == (2, 0.5)
    np.testing.assert_array_equal(keeper.params(state(0.0).params)["w"], 0.5)


def test_what_the_last_cursors_name_stays_on_disk_and_the_rest_goes(tmp_path: Path):
    keeper = best(tmp_path)
    cursors = []
    for step in range(1, 6):
        keeper.look(step, state(step / 10))
        cursors.append(keeper.get_state())
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"step_0000000{step}" for step in (3, 4, 5)]
    for cursor in cursors[2:]:
        again = best(tmp_path)
        again.set_state(cursor)
        np.testing.assert_array_equal(again.params(state(0.0).params)["w"], np.float32(cursor["step"] / 10))
    with pytest.raises(InputError, match="step_00000002 is missing, which held the best parameters"):
        best(tmp_path).set_state(cursors[1])


def test_before_the_first_look_there_is_nothing_to_go_on_with(tmp_path: Path):
    keeper = best(tmp_path / "none")
    again = best(tmp_path / "none")
    again.set_state(keeper.get_state())
    again.look(1, state(-2.0))
    again.look(2, state(-3.0))
    assert (again.step, again.value) == (1, -2.0)


@pytest.mark.parametrize(("better", "step"), [(gt, 4), (lt, 3)])
def test_a_measure_that_is_not_finite_is_never_the_best(
    better: Callable[[float, float], bool], step: int, tmp_path: Path
):
    keeper = best(tmp_path, better)
    values = (float("nan"), float("inf"), 0.25, 0.5, float("-inf"), float("nan"), 0.25)
    for number, value in enumerate(values, start=1):
        keeper.look(number, state(value))
        assert math.isfinite(keeper.get_state()["value"])  # JSON has no other numbers
    assert keeper.step == step
    nothing = best(tmp_path / "nothing", better)
    nothing.look(1, state(float("nan")))
    with pytest.raises(InputError, match="best/w was finite at no step"):
        nothing.params(state(0.0).params)
