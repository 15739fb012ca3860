"""One new token's attention over slots of any length, by the kernel that reads of a cache what slots hold."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import SingleDeviceSharding

from reasoning.kernels.attention import ragged
from reasoning.kernels.attention.rule import Rule
from reasoning.kernels.pallas_tpu.tiles import TPU, chip_named
from reasoning.planning.programs import no_compilation_cache
from reasoning.planning.topology import libtpu_is_installed, topology_devices

COUNTS = (0, 1, 16, 17, 40, 100)


@dataclass(frozen=True)
class Case:
    """Sizes of a cache and a rule; ``channels`` of a key's parts, the first the values too where ``values`` is 0."""

    heads: int
    key_heads: int
    channels: tuple[int, ...]
    values: int
    soft_cap: float | None = None
    sinks: bool = False
    length: int = 100
    chip: str = "TPU v5e"

    def arrays(self, place=np.asarray, slots: int = len(COUNTS), dtype="float32"):
        """Queries, the parts of keys, values, and sinks; ``place`` makes an array of a shape and a type."""
        held = slots, self.key_heads, self.length
        query = place((slots, self.heads, sum(self.channels)), dtype)
        keys = [place((*held, part), dtype) for part in self.channels]
        values = place((*held, self.values), dtype) if self.values else None
        return query, keys, values, place((self.heads,), "float32") if self.sinks else None


CASES = {
    "groups": Case(6, 2, (8,), 8),
    "capped, with sinks, whole lanes": Case(3, 1, (128,), 128, 2.0, True, length=104),
    "latent, on two cores": Case(4, 1, (128, 8), 0, chip="TPU v5p"),
    "a cache of one block": Case(2, 2, (8,), 16, length=16),
}


def oracle(case: Case, query, keys, values, sinks, counts) -> np.ndarray:
    """The formula in float64; a slot that holds nothing gives 0."""
    keys = [np.asarray(part, np.float64) for part in keys]
    values = keys[0] if values is None else np.asarray(values, np.float64)
    slots, heads, _ = query.shape
    grouped = np.asarray(query, np.float64).reshape(slots, case.key_heads, -1, query.shape[2])
    scores = 0.3 * np.einsum("bkgc,bksc->bkgs", grouped, np.concatenate(keys, axis=-1))
    scores = case.soft_cap * np.tanh(scores / case.soft_cap) if case.soft_cap else scores
    weights = np.exp(scores) * (np.arange(case.length) < counts[:, None, None, None])
    total = weights.sum(axis=-1, keepdims=True)
    if sinks is not None:
        total = total + np.exp(np.asarray(sinks, np.float64)).reshape(1, case.key_heads, -1, 1)
    mixed = np.einsum("bkgs,bksc->bkgc", weights / np.maximum(total, 1e-300), values)
    return mixed.reshape(slots, heads, -1)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ragged, "_UNIT", 16)


@pytest.mark.parametrize("interpret", (True, pltpu.InterpretParams()), ids=("operations", "simulated"))
@pytest.mark.parametrize("name", CASES)
def test_each_slot_is_attended_to_up_to_its_own_length(name: str, interpret, small_blocks: None):
    case, random = CASES[name], np.random.default_rng(0)
    query, keys, values, sinks = case.arrays(lambda shape, dtype: random.normal(size=shape).astype(dtype))
    counts = np.minimum(COUNTS, case.length).astype(np.int32)
    held = np.arange(case.length)[:, None] < counts[:, None, None, None]
    expected = oracle(case, query, keys, values, sinks, counts)
    # What is behind a slot's end was another text's.
    leaves = [jnp.asarray(np.where(held, leaf, 50 * leaf)) for leaf in (*keys, *([] if values is None else [values]))]
    tpu = TPU(chip_named(case.chip), interpret=interpret)
    found = jax.jit(ragged.attend, static_argnums=(3, 5))(query, leaves, counts, Rule(0.3, case.soft_cap), sinks, tpu)
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


def test_there_is_a_step_for_each_block_that_holds_something_and_none_behind(small_blocks: None):
    counts = jnp.asarray(COUNTS, jnp.int32)
    slots, places, totals = ragged._steps(counts, 2, 16, 7)
    np.testing.assert_array_equal(totals, [3, 2 + 3 + 7])
    np.testing.assert_array_equal(slots[0, :4], [0, 1, 2, 2])  # and stays there, so that nothing more is copied
    np.testing.assert_array_equal(slots[1, :12], [3] * 2 + [4] * 3 + [5] * 7)
    np.testing.assert_array_equal(places[1, :12], [0, 1, 0, 1, 2, *range(7)])
    assert {int(place) for place in places[1, 12:]} == {6}


@pytest.mark.skipif(not libtpu_is_installed(), reason="libtpu isn't installed")
@pytest.mark.parametrize("topology", ("v5e:1x1", pytest.param("v5p:1x1x1", marks=pytest.mark.slow)))
def test_a_chip_takes_it_and_reads_a_cache_where_it_lies(topology: str):
    device = topology_devices(topology)[0]
    place = SingleDeviceSharding(device)

    def shape(sizes, dtype):
        return jax.ShapeDtypeStruct(sizes, dtype, sharding=place)

    for case in (Case(14, 2, (128,), 128, length=8104), Case(32, 1, (512, 128), 0, length=8192)):
        query, keys, values, sinks = case.arrays(shape, 16, "bfloat16")
        function = jax.jit(ragged.attend, static_argnums=(3, 5))
        leaves = [*keys, *([] if values is None else [values])]
        arguments = query, leaves, shape((16,), "int32"), Rule(0.1), sinks, TPU(chip_named(device.device_kind))
        with no_compilation_cache():
            compiled = function.lower(*arguments).compile()
        assert (compiled.as_text() or "").count("tpu_custom_call") == 1
        memory = compiled.memory_analysis()
        assert memory is not None and memory.temp_size_in_bytes < 4 * 2**20  # a copy would be 16 MiB and more
