"""What tells a training that exploded from one that is well, by numbers alone."""

import json
import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from reasoning.training.explosion import explosion, explosion_words, root_mean_square

WELL = {"a": jnp.full((4, 3), 0.02), "b": [jnp.zeros(5)]}


def recorded(folder: Path, losses: list[Any]) -> Path:
    rows = [{"step": step, "loss": loss, "more": "x" * 500} for step, loss in enumerate(losses, start=1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_the_root_mean_square_is_that_of_all_numbers_also_of_vast_ones():
    generator = np.random.default_rng(0)
    leaves = [generator.normal(size=shape).astype(np.float32) for shape in ((3, 5), (7,), ())]
    every = np.concatenate([leaf.reshape(-1) for leaf in leaves]).astype(np.float64)
    tree = {"a": jnp.asarray(leaves[0]), "b": [jnp.asarray(leaves[1]), jnp.asarray(leaves[2])]}
    assert root_mean_square(tree) == pytest.approx(np.sqrt(np.mean(every**2)), rel=1e-12)
    assert root_mean_square({"a": jnp.full(3, 1e30)}) == pytest.approx(1e30, rel=1e-6)
    assert root_mean_square({}) == 0
    assert root_mean_square(jnp.full(4, 2, jnp.bfloat16)) == 2


@pytest.mark.parametrize(
    ("losses", "by_loss", "exploded"),
    [
        ([4.4, 3.0, 2.0, 1.0], True, False),
        ([4.4, 90.0, 3.0, 2.0, 1.9, 1.8, 1.7], True, False),  # a peak of the warm-up
        ([4.4, 3.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 90.0], True, False),  # a single bad batch at the end
        ([4.4, 30.0, 300.0], True, True),
        ([4.4, 30.0, 300.0], False, False),  # a policy gradient's: its size says nothing
        ([300.0, 250.0, 240.0], True, False),  # a divergence at a high temperature
        ([300.0, 700.0, 800.0], True, True),
        ([1e-4, 2e-4, 15.0, 15.0, 15.0, 15.0, 15.0], True, False),  # of another kind of data
        ([0.0, -0.1, 0.05], False, False),
        ([4.4, 3.0, "nan"], True, True),
        ([0.0, 0.0, "inf"], False, True),
        ([4.4], True, False),
        ([], True, False),
    ],
)
def test_a_loss_explodes_where_it_ends_far_above_its_start(tmp_path: Path, losses: list, by_loss: bool, exploded: bool):
    found = explosion(recorded(tmp_path, losses), WELL, by_loss)
    assert bool(found) is exploded and all(map(math.isfinite, found.values()))
    assert bool(explosion_words(found)) is exploded


def test_parameters_explode_whatever_the_loss(tmp_path: Path):
    assert explosion(tmp_path, WELL, True) == {}
    assert explosion(tmp_path, {"a": jnp.full(3, 90.0)}, False) == {}
    found = explosion(recorded(tmp_path, [0.0, 0.0]), {"a": jnp.full(4, 1e6)}, False)
    assert found == {"exploded/parameters": 1e6}
    assert "root mean square of 1e+06 " in explosion_words(found) and "loss at" not in explosion_words(found)
    assert explosion(tmp_path, {"a": jnp.full(3, jnp.nan)}, False).keys() == {"exploded/parameters"}


def test_words_tell_the_loss_and_what_to_do(tmp_path: Path):
    told = explosion_words(explosion(recorded(tmp_path, [4.25, 30.0, 310.0]), WELL, True))
    assert "its loss at 170 from 4.25" in told and "lower the learning rate" in told
    assert explosion_words({"loss": 3.0}) == ""


def test_only_the_ends_of_a_long_record_are_read_whole_or_cut_off(tmp_path: Path):
    recorded(tmp_path, [4.0] + [3.0] * 3000 + [200.0] * 5)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 3007, "loss": 2')
    assert explosion(tmp_path, WELL, True)["exploded/loss"] == 200.0
