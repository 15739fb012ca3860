"""The one loop: it resumes to the same bits, saves when asked to stop, and gives up on updates that aren't finite."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from operator import gt
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.core.files import read_jsonl
from reasoning.core.hashes import hash_tree
from reasoning.core.mesh import MeshShape, build_mesh, replicated, row_sharding, with_shardings
from reasoning.core.progress import Progress
from reasoning.core.stopwatch import PARTS
from reasoning.training.best import Best
from reasoning.training.checkpoints import Checkpointer
from reasoning.training.failed import read_failed
from reasoning.training.fit import Loop, Probe, Spent, fit
from reasoning.training.metrics import MetricsLog
from reasoning.training.optimizers import AdamW
from reasoning.training.preemption import Interrupted
from reasoning.training.sinks import Several
from reasoning.training.state import TrainState, new_state
from reasoning.training.step import StepShardings, make_step

MESH = build_mesh(MeshShape())
OPTIMIZER = AdamW(0.05, warmup=2).build(10)


@dataclass
class Counter:
    """A source whose batch depends on how many it has given."""

    given: int = 0
    poison_from: int = 1000
    calls: list[int] = field(default_factory=list)

    def __call__(self, state: TrainState, step: int) -> tuple[Any, Mapping[str, float]]:
        self.given += 1
        self.calls.append(step)
        value = np.random.default_rng(self.given).normal(size=8)
        if step >= self.poison_from:
            value[0] = np.nan
        return jax.device_put(value.astype(np.float32), row_sharding(MESH)), {
            "given": float(self.given),
            "tokens": self.given,
            "flops": 5,
        }

    def get_state(self) -> dict[str, Any]:
        return {"given": self.given}

    def set_state(self, cursor: dict[str, Any]) -> None:
        self.given = cursor["given"]


def loss(params: Any, frozen: Any, batch: jax.Array) -> Any:
    """A quadratic, so that every batch matters."""
    return jnp.sum((params["w"] - batch) ** 2), {}, {}


@partial(jax.jit, out_shardings=replicated(MESH))
def initial() -> TrainState:
    return new_state({"w": jnp.zeros(8)}, OPTIMIZER)


STEP = make_step(loss, OPTIMIZER, StepShardings(replicated(MESH), replicated(MESH), row_sharding(MESH)))
SHAPES = jax.eval_shape(initial)
ABSTRACT = with_shardings(SHAPES, jax.tree.map(lambda _: replicated(MESH), SHAPES))


def loop_in(folder: Path, **changes: Any) -> tuple[Loop, list[Progress]]:
    seen: list[Progress] = []
    loop = Loop(
        name="toy",
        steps=10,
        checkpointer=Checkpointer(folder / "checkpoints", 2, 0),
        checkpoint_every=4,
        log=MetricsLog(folder),
        report=seen.append,
        stop=lambda step: None,
        skips_allowed=3,
        probes=(Probe(5, lambda state, step: {"probe/w": float(state.params["w"][0])}),),
        best=None,
        shown=("loss",),
        tokens_per_step=8,
        open_sink=lambda first: Several(),
        flops=lambda batch: 2 * batch.size,
        failed=Checkpointer(folder / "failed", 1),
        key=jax.random.key(5),
        look=lambda step, values, parts: None,
    )
    return replace(loop, **changes), seen


def train(folder: Path, source: Counter, **changes: Any) -> TrainState:
    return train_and_count(folder, source, **changes)[0]


def train_and_count(folder: Path, source: Counter, **changes: Any) -> tuple[TrainState, Spent]:
    folder.mkdir(exist_ok=True)
    return fit(initial, ABSTRACT, STEP, {}, source, loop_in(folder, **changes)[0])


def test_an_interrupted_run_saves_and_goes_on_to_the_same_bits(tmp_path: Path):
    whole = train(tmp_path / "whole", Counter())
    with pytest.raises(Interrupted) as interruption:
        train(tmp_path / "cut", Counter(), stop=lambda step: 15 if step == 6 else None)
    assert interruption.value.signal == 15
    source = Counter()
    resumed = train(tmp_path / "cut", source)
    assert source.calls == [6, 7, 8, 9]
    assert hash_tree(resumed) == hash_tree(whole)
    assert (tmp_path / "cut/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()


def test_a_run_that_died_between_checkpoints_goes_back_to_the_last_and_drops_later_metrics(tmp_path: Path):
    whole = train(tmp_path / "whole", Counter())

    def die(step: int) -> int | None:
        if step == 7:
            raise KeyboardInterrupt
        return None

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", Counter(), stop=die)
    source = Counter()
    resumed = train(tmp_path / "cut", source)
    assert source.calls[0] == 4
    assert hash_tree(resumed) == hash_tree(whole)
    assert (tmp_path / "cut/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()


def test_what_a_stage_takes_is_counted_over_interruptions_too(tmp_path: Path):
    _, whole = train_and_count(tmp_path / "whole", Counter())
    assert whole == Spent(tokens=sum(range(1, 11)), flops=10 * (5 + 2 * 8))
    with pytest.raises(Interrupted):
        train(tmp_path / "cut", Counter(), stop=lambda step: 15 if step == 6 else None)
    assert train_and_count(tmp_path / "cut", Counter())[1] == whole
    recorded = read_jsonl(tmp_path / "cut/metrics.jsonl")
    assert [row["tokens"] for row in recorded] == list(range(1, 11)) and {row["flops"] for row in recorded} == {21}


def test_a_sink_gets_what_is_recorded_and_is_told_where_a_resumed_run_begins(tmp_path: Path):
    got: list[Any] = []

    class Remembering:
        def record(self, step: int, values: Mapping[str, Any]) -> None:
            got.append((step, values["loss"]))

        def close(self) -> None:
            got.append("closed")

    def open_sink(first: int) -> Remembering:
        got.append(first)
        return Remembering()

    with pytest.raises(Interrupted):
        train(tmp_path / "cut", Counter(), stop=lambda step: 15 if step == 6 else None, open_sink=open_sink)
    train(tmp_path / "cut", Counter(), open_sink=open_sink)
    losses = [(row["step"], row["loss"]) for row in read_jsonl(tmp_path / "cut/metrics.jsonl")]
    assert got == [1, *losses[:6], "closed", 7, *losses[6:], "closed"]


def test_a_finished_run_trains_no_more(tmp_path: Path):
    first = train(tmp_path / "run", Counter())
    source = Counter()
    assert hash_tree(train(tmp_path / "run", source)) == hash_tree(first) and source.calls == []


def test_probes_run_when_due_and_after_the_last_step(tmp_path: Path):
    train(tmp_path / "run", Counter(), steps=7)
    rows_ = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows_] == list(range(1, 8))
    assert [row["step"] for row in rows_ if "probe/w" in row] == [5, 7]
    assert all(row["given"] == row["step"] for row in rows_)


def test_too_many_skipped_updates_in_a_row_stop_the_run_and_say_where(tmp_path: Path):
    with pytest.raises(
        InputError, match=r"stage toy: the last 4 updates up to step 9 were not finite .* step 8 are intact"
    ):
        train(tmp_path / "run", Counter(poison_from=5))


@pytest.mark.parametrize("allowed", [0, 1])
def test_as_many_skipped_updates_in_a_row_are_allowed_as_the_setting_says(allowed: int, tmp_path: Path):
    train(tmp_path / "fine", Counter(poison_from=10 - allowed), skips_allowed=allowed)
    with pytest.raises(InputError, match=f"the last {allowed + 1} updates up to step 10 were not finite"):
        train(tmp_path / "over", Counter(poison_from=9 - allowed), skips_allowed=allowed)


def best_in(folder: Path) -> Best:
    """What is nearest to .2 of the parameters' first number, which rises and falls with the batches."""

    def near(state: TrainState) -> float:
        return 1.0 / (1.0 + abs(float(state.params["w"][0]) - 0.2))

    return Best(folder / "best", every=2, remembered=3, metric="best/near", measure=near, better=gt)


@pytest.mark.parametrize("cut", [3, 5, 8])
def test_the_best_parameters_are_those_of_their_step_also_after_an_interruption(cut: int, tmp_path: Path):
    best = best_in(tmp_path / "whole")
    whole = train(tmp_path / "whole", Counter(), best=best)
    seen = {row["step"]: row["best/near"] for row in read_jsonl(tmp_path / "whole/metrics.jsonl") if "best/near" in row}
    assert list(seen) == [2, 4, 6, 8, 10] and best.value == max(seen.values()) == seen[best.step]
    assert best.step < 10 and hash_tree(best.params(whole.params)) != hash_tree(whole.params)
    shorter = train(tmp_path / "shorter", Counter(), steps=best.step)
    assert hash_tree(best.params(whole.params)) == hash_tree(shorter.params)

    with pytest.raises(Interrupted):
        train(
            tmp_path / "cut", Counter(), stop=lambda step: 15 if step == cut else None, best=best_in(tmp_path / "cut")
        )
    again = best_in(tmp_path / "cut")
    resumed = train(tmp_path / "cut", Counter(), best=again)
    assert (again.step, again.value) == (best.step, best.value)
    assert hash_tree(again.params(resumed.params)) == hash_tree(best.params(whole.params))
    assert (tmp_path / "cut/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()


def test_metrics_hold_no_clock_and_timings_do(tmp_path: Path):
    train(tmp_path / "run", Counter())
    assert "seconds" not in (tmp_path / "run/metrics.jsonl").read_text()
    assert "seconds" in (tmp_path / "run/timings.jsonl").read_text()


def test_the_step_that_ends_a_run_is_kept_with_its_batch_its_key_and_the_state_that_it_met(tmp_path: Path):
    with pytest.raises(InputError, match=r"the last 4 updates .* kept in .*/failed/step_00000009"):
        train(tmp_path / "run", Counter(poison_from=5))
    kept = read_failed(tmp_path / "run/failed/step_00000009", ABSTRACT, MESH)
    good = train(tmp_path / "good", Counter(), steps=5)
    assert hash_tree(kept.state.params) == hash_tree(good.params)
    assert hash_tree(kept.state.optimizer) == hash_tree(good.optimizer)
    expected = np.random.default_rng(9).normal(size=8).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(kept.batch)[1:], expected[1:])
    assert np.isnan(kept.batch[0]) and math.isnan(kept.metrics["loss"]) and kept.metrics["skipped"] == 4
    assert kept.key == tuple(jax.random.key_data(jax.random.fold_in(jax.random.key(5), 8)).tolist())


def test_timings_tell_the_parts_of_a_step_and_their_sum_is_its_time(tmp_path: Path):
    train(tmp_path / "run", Counter())
    for row in read_jsonl(tmp_path / "run/timings.jsonl"):
        assert {"step", "steps", "seconds", "data", "update", "probe"} <= row.keys()
        assert ("checkpoint" in row) == (row["step"] in (4, 8, 10))
        parts = sum(value for name, value in row.items() if name in PARTS)
        assert 0 < parts <= row["seconds"]


def test_a_disk_that_fills_up_beside_the_steps_ends_the_run_with_its_name(tmp_path: Path, monkeypatch):
    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device", str(folder))

    monkeypatch.setattr("reasoning.training.checkpoints.sync_tree", full)
    source = Counter()
    with pytest.raises(InputError, match="could not save step 4 to .*No space left on device.*; no earlier checkpoint"):
        train(tmp_path / "full", source)
    assert max(source.calls) < 8
