"""Sampler against trainer: they agree in float32 wherever in the context, and a fault is found, with its place."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from drawn import placed
from tiny_run import write_tiny_run

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.config import ModelConfig, Stack
from reasoning.models.model import build_model
from reasoning.use.numerics import (
    ALLOWED,
    Extent,
    Scored,
    check_numerics,
    compare,
    models_of,
    random_prompts,
    score_both,
)

CONFIG = ModelConfig(
    vocabulary=48, width=32, heads=2, kv_heads=1, mlp_width=64, stacks=(Stack(2),), context=64, head_scale=4.0
)
EXTENT = Extent(prompts=4, length=32, seed=0)


def compared(dtype: str, fault: Any = None) -> Any:
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    model = build_model(replace(CONFIG, compute_dtype=dtype), mesh)
    params = placed(model, mesh, 0, 0.25)
    model = model if fault is None else fault(model)
    return compare(dtype, score_both(model, mesh, params, random_prompts(EXTENT, 48, 1), EXTENT))


def late_positions(model: Any) -> Any:
    """A model whose decoding takes each token to be one place later than it is, once 16 came before."""

    def decode(weights: Any, tokens: Any, cache: Any) -> Any:
        length = cache["length"]
        late = {**cache, "length": length + (length >= 16)}
        hidden, cache = model.decode(weights, tokens, late)
        return hidden, {**cache, "length": length + 1}

    return replace(model, decode=decode)


def test_in_float32_both_agree_at_every_depth():
    found = compared("float32")
    assert [(band.first, band.last) for band in found.bands] == [(1, 1), (2, 3), (4, 7), (8, 15), (16, 31)]
    assert all(0 < band.count and band.largest <= ALLOWED for band in found.bands)
    assert found.whole.count == sum(band.count for band in found.bands) == 4 * 2 * 16
    assert not found.faulty


def test_a_wrong_position_is_found_and_where_it_begins():
    found = compared("float32", late_positions)
    assert found.faulty and found.farthest.apart > 1e-3
    assert [band.largest > ALLOWED for band in found.bands] == [False, False, False, False, True]
    assert found.farthest.prompt_length + found.farthest.token - 1 > 16


def test_bfloat16_is_measured_and_not_judged():
    found = compared("bfloat16", late_positions)
    assert ALLOWED < found.whole.mean < found.whole.p99 <= found.whole.largest
    assert found.whole.ratio[0] < 1 < found.whole.ratio[1] and not found.faulty


def test_the_numbers_are_those_of_numpy():
    sampler, apart = np.zeros((3, 2, 4)), np.random.default_rng(0).normal(size=(3, 2, 4))
    depths = np.array([[1], [2], [5]]) + np.arange(4)
    found = compare("float32", Scored(sampler, apart, depths))
    inside = apart[np.broadcast_to((depths >= 4)[:, None] & (depths <= 7)[:, None], apart.shape)]
    band, last = found.bands[2], found.bands[-1]
    assert (band.first, band.last, band.count, last.first, last.last, last.count) == (4, 7, inside.size, 8, 8, 2)
    np.testing.assert_allclose((band.mean, band.p99, band.largest), _sizes(np.abs(inside)))
    np.testing.assert_allclose(found.whole.ratio, np.exp(np.quantile(apart, (0.01, 0.99))))
    assert found.farthest.apart == np.abs(apart).max()
    apart[1, 0, 2] = np.nan
    lost = compare("float32", Scored(sampler, apart, depths))
    assert lost.faulty and (lost.farthest.prompt_length, lost.farthest.token) == (2, 3)


def _sizes(values: np.ndarray) -> tuple[float, float, float]:
    return values.mean(), np.quantile(values, 0.99), values.max()


def test_a_runs_models_are_checked_and_what_is_none_is_refused(corpus, base, tmp_path: Path):
    folder = write_tiny_run(tmp_path, corpus, base)
    assert models_of(str(folder)) == (f"{folder}/base",) and models_of("elsewhere/zero") == ("elsewhere/zero",)
    [found] = check_numerics(f"{folder}/base", replace(EXTENT, length=16))
    assert found.dtype == "float32" and not found.faulty
    with pytest.raises(InputError, match="33 tokens exceed the context of .*base, 32"):
        check_numerics(f"{folder}/base", replace(EXTENT, length=33))
    with pytest.raises(InputError, match="0 prompts and 64 tokens of context leave nothing to compare"):
        Extent(0, 64, 0)
