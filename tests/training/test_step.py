"""The one train step: exact under microbatching, guarded against non-finite updates, and closed over nothing."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh, replicated, row_sharding
from reasoning.training.guard import SpikeGuard
from reasoning.training.optimizers import AdamW
from reasoning.training.state import TrainState, new_state
from reasoning.training.step import Spread, StepShardings, make_step, split_rows, spread_metrics

MESH = build_mesh(MeshShape())


def weighted_squares(params: Any, frozen: Any, batch: Any) -> Any:
    """A weighted least-squares loss with a frozen offset, sums, and an update that counts rows."""
    error = batch["x"] @ params["w"] + frozen["offset"] - batch["y"]
    loss = jnp.sum(batch["weight"] * error**2)
    sums = {"error": (jnp.sum(jnp.abs(error)), jnp.float32(error.size))}
    return loss, sums, {"rows": jnp.float32(error.size)}


def problem(rows_: int = 16) -> tuple[dict[str, jax.Array], dict[str, jax.Array], dict[str, jax.Array]]:
    generator = np.random.default_rng(0)
    batch = {
        "x": jnp.asarray(generator.normal(size=(rows_, 3)), jnp.float32),
        "y": jnp.asarray(generator.normal(size=rows_), jnp.float32),
        "weight": jnp.asarray(generator.random(rows_) / rows_, jnp.float32),
    }
    return {"w": jnp.asarray([0.5, -1.0, 2.0])}, {"offset": jnp.float32(0.25)}, batch


def run(
    steps: int, microbatches: int = 1, optimizer: optax.GradientTransformation | None = None, **changes: Any
) -> tuple[TrainState, list[dict[str, float]]]:
    params, frozen, batch = problem()
    optimizer = optimizer or optax.adam(0.1)
    places = StepShardings(replicated(MESH), replicated(MESH), row_sharding(MESH))
    step = make_step(
        weighted_squares,
        optimizer,
        places,
        microbatches=microbatches,
        after_update=lambda params, updates: {**params, "seen": params["seen"] + updates["rows"]},
    )
    state = new_state({**params, "seen": jnp.float32(0)}, optimizer)
    metrics = []
    for number in range(steps):
        spoilt = {name: change(value, number) for name, value in batch.items() for change in [changes.get(name, first)]}
        state, sums = step(state, frozen, spoilt)
        metrics.append({name: float(total) / float(count) for name, (total, count) in sums.items()})
    return state, metrics


def first(value: jax.Array, number: int) -> jax.Array:
    return value


def test_the_loss_and_its_gradient_are_those_of_the_formula():
    params, frozen, batch = (jax.device_get(part) for part in problem())
    error = batch["x"] @ params["w"] + frozen["offset"] - batch["y"]
    gradient = 2 * (batch["weight"] * error) @ batch["x"]
    _, metrics = run(1)
    np.testing.assert_allclose(metrics[0]["loss"], (batch["weight"] * error**2).sum(), rtol=1e-6)
    np.testing.assert_allclose(metrics[0]["grad_norm"], np.linalg.norm(gradient), rtol=1e-6)
    np.testing.assert_allclose(metrics[0]["error"], np.abs(error).mean(), rtol=1e-6)


@pytest.mark.parametrize("microbatches", [2, 4, 8])
def test_microbatches_change_neither_losses_nor_parameters_nor_what_is_updated_without_a_gradient(microbatches: int):
    whole, metrics = run(3)
    parts, metrics_of_parts = run(3, microbatches)
    np.testing.assert_allclose(parts.params["w"], whole.params["w"], atol=1e-6)
    np.testing.assert_allclose([m["loss"] for m in metrics_of_parts], [m["loss"] for m in metrics], atol=1e-6)
    assert float(parts.params["seen"]) == float(whole.params["seen"]) == 48


def test_microbatches_that_do_not_divide_the_batch_are_refused_with_the_numbers():
    with pytest.raises(InputError, match="3 microbatches do not divide a batch of 16 rows"):
        run(1, 3)


def test_every_microbatch_keeps_rows_of_every_device():
    # Of two devices with eight rows each; rows that stand together stay so.
    parts = split_rows(jnp.arange(16), 2, devices=2)
    np.testing.assert_array_equal(parts, [[0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]])


@pytest.mark.parametrize("poison", [jnp.nan, jnp.inf])
def test_a_non_finite_update_changes_nothing_but_the_counters(poison: float):
    def spoil(value: jax.Array, number: int) -> jax.Array:
        return value.at[3].set(poison) if number in (1, 2) else value

    before, _ = run(1)
    spoilt, metrics = run(3, y=spoil)
    np.testing.assert_array_equal(spoilt.params["w"], before.params["w"])
    jax.tree.map(np.testing.assert_array_equal, spoilt.optimizer, before.optimizer)
    assert [m["skipped"] for m in metrics] == [0, 1, 2] and int(spoilt.step) == 3
    recovered, metrics = run(4, y=spoil)
    assert metrics[-1]["skipped"] == 0 and not np.array_equal(recovered.params["w"], before.params["w"])


def test_frozen_trees_are_arguments_of_the_program_and_the_state_is_donated():
    params, frozen, batch = problem()
    optimizer = optax.adam(0.1)
    places = StepShardings(replicated(MESH), replicated(MESH), row_sharding(MESH))
    step = make_step(weighted_squares, optimizer, places)
    state = new_state(params, optimizer)
    text = jax.jit(step).lower(state, frozen, batch).as_text()
    assert "0.25" not in text
    new, _ = step(state, frozen, batch)
    assert state.params["w"].is_deleted() and not new.params["w"].is_deleted()


def test_the_rate_of_each_update_is_among_the_metrics_where_the_optimizer_tells_it():
    _, metrics = run(4, optimizer=AdamW(0.2, warmup=2, decay_share=0.5).build(4))
    np.testing.assert_allclose([row["learning_rate"] for row in metrics], [0.1, 0.2, 0.2, 0.1], rtol=1e-6)
    assert "learning_rate" not in run(1)[1][0]


def spread_of(params: Any, frozen: Any, batch: Any) -> Any:
    """A loss that tells how its errors are spread over the rows that weigh more than a little."""
    loss, sums, updates = weighted_squares(params, frozen, batch)
    return loss, {**sums, "errors": Spread(batch["y"], batch["weight"] > 0.01)}, {}


@pytest.mark.parametrize("microbatches", [1, 4])
def test_a_spread_is_told_as_numpy_tells_the_whole_batchs(microbatches: int):
    params, frozen, batch = problem(64)
    places = StepShardings(replicated(MESH), replicated(MESH), row_sharding(MESH))
    step = make_step(spread_of, optax.sgd(0.1), places, microbatches=microbatches)
    _, sums = step(new_state(params, optax.sgd(0.1)), frozen, batch)
    values = np.asarray(batch["y"], np.float64)[np.asarray(batch["weight"]) > 0.01]
    assert 10 < len(values) < 64
    found = {name: float(total) / float(count) for name, (total, count) in sums.items() if "errors" in name}
    expected = dict(zip(("min", "p01", "p99", "max"), np.quantile(values, (0, 0.01, 0.99, 1)), strict=True))
    assert found.keys() == {f"errors/{end}" for end in (*expected, "mean")}
    for end, value in {**expected, "mean": values.mean()}.items():
        np.testing.assert_allclose(found[f"errors/{end}"], value, rtol=2e-6, err_msg=end)


def test_a_spread_of_nothing_is_no_number_and_one_of_infinities_no_fault():
    nothing = spread_metrics("ratio", Spread(jnp.ones((2, 3)), jnp.zeros((2, 3))))
    assert {float(count) for _, count in nothing.values()} == {0.0}
    far = spread_metrics("ratio", Spread(jnp.full((2, 3), jnp.inf), jnp.ones((2, 3))))
    assert all(float(total) == np.inf for total, _ in far.values())


def test_a_spike_changes_nothing_but_counters_and_without_a_guard_there_is_nothing_of_it():
    params, frozen, batch = problem()
    optimizer, guard = optax.adam(0.01), SpikeGuard(deviations=6.0, window=4)
    places = StepShardings(replicated(MESH), replicated(MESH), row_sharding(MESH))
    step = make_step(weighted_squares, optimizer, places, guard=guard)
    state, seen = new_state(params, optimizer, guarded=True), list[tuple[float, float]]()
    for number in range(8):
        given = {**batch, "y": batch["y"] + 1000.0} if number in (5, 6) else batch
        before = jax.device_get((state.params, state.optimizer, state.seen))
        state, sums = step(state, frozen, given)
        after = jax.device_get((state.params, state.optimizer, state.seen))
        same = all(
            np.array_equal(one, other) for one, other in zip(*map(jax.tree.leaves, (before, after)), strict=True)
        )
        assert same == (number in (5, 6)) and ("guard/loss" in sums)
        seen.append((float(sums["skipped"][0]), float(sums["guard/loss"][1])))
    assert [skipped for skipped, _ in seen] == [0, 0, 0, 0, 0, 1, 2, 0]
    assert [judged for _, judged in seen] == [0, 0, 0, 0, 1, 1, 1, 1] and int(state.step) == 8
    assert set(run(1)[1][0]).isdisjoint({"guard/loss", "guard/grad_norm"})
    assert jax.tree.leaves(new_state(params, optimizer).seen) == []
