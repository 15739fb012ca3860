"""Slots that are refilled on the device: how many are busy, and that nothing is lost where pages are small."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from counting_model import END, counting_model

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.generation.engine import build_engine
from reasoning.generation.sampler import SamplerSettings
from reasoning.generation.slots import sample
from reasoning.generation.state import Asked, Page, Sizes, State, empty_state
from reasoning.generation.watching import GO_ON, Watch

LIMIT = 60


def page_of(lengths: list[int], sizes: Sizes) -> Page:
    rows = sizes.parts * sizes.prompts
    tokens, counts, numbers = np.zeros((rows, sizes.time), np.int32), np.zeros(rows, np.int32), np.zeros(rows, np.int32)
    for row, length in enumerate(lengths):
        tokens[row, 0], counts[row], numbers[row] = length, 1, row
    return Page(*map(jnp.asarray, (tokens, counts, numbers, numbers)))


def ask(state: State, sizes: Sizes, page: Page, samples: int, more: bool, steps: int = 10_000) -> State:
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    settings = SamplerSettings(0, LIMIT, (END,))
    asked = Asked(jnp.int32(samples), jnp.float32(0), None, None, jnp.bool_(more), jnp.int32(steps))
    return jax.jit(sample, static_argnums=(0, 1, 2, 3))(
        MODEL, mesh, settings, sizes, {}, state, page, np.full(sizes.slots, GO_ON), jax.random.key(0), asked
    )[0]


MODEL = counting_model([])
SIZES = Sizes(parts=1, slots=4, prompts=6, group=2, time=3, ended=16)


@cache
def empty() -> State:
    return jax.jit(partial(empty_state, MODEL, LIMIT, SIZES))(jax.random.key(0))


@pytest.mark.parametrize("samples", [1, 2])
def test_every_request_of_a_page_ends_once_with_its_own_tokens(samples: int):
    lengths = [3, 9, 1, 40, 2, 70][: 6 if samples == 1 else 5]
    state = ask(empty(), SIZES, page_of(lengths, SIZES), samples, False)
    done = state.finished
    count = int(done.count[0])
    assert sorted(done.request[:count].tolist()) == list(range(len(lengths) * samples))
    for row in range(count):
        wanted = lengths[int(done.request[row]) // samples]
        said = list(range(wanted - 1, -1, -1))[:LIMIT]
        assert done.tokens[row].tolist() == said + [0] * (LIMIT - len(said))
        assert int(done.lengths[row]) == len(said) and bool(done.truncated[row]) == (wanted > LIMIT)
    assert bool(state.slots.done.all()) and (state.slots.request == -1).all()


def test_with_more_pages_to_come_a_page_is_left_as_soon_as_a_slot_is_idle_and_the_rest_goes_on_with_the_next():
    first = ask(empty(), SIZES, page_of([5, 30, 31, 32], SIZES), 1, True)
    assert first.finished.request[: int(first.finished.count[0])].tolist() == [0]
    assert sorted(first.slots.request.tolist()) == [-1, 1, 2, 3] and set(first.slots.count.tolist()) == {0, 5}
    page = page_of([7, 2], SIZES)
    page = page.replace(numbers=page.numbers + 4)
    second = ask(first, SIZES, page, 1, False)
    rows = second.finished.request[: int(second.finished.count[0])].tolist()
    assert rows[:2] == [4, 5] and sorted(rows) == [1, 2, 3, 4, 5]
    assert {int(row): int(length) for row, length in zip(rows, second.finished.lengths, strict=False)} == {
        1: 30,
        2: 31,
        3: 32,
        4: 7,
        5: 2,
    }


def test_a_page_that_is_left_to_be_looked_at_goes_on_where_it_was():
    page = page_of([5, 30, 1, 32, 9, 2], SIZES)
    at_once, rows = ask(empty(), SIZES, page, 2, False).finished, []
    state = ask(empty(), SIZES, page, 2, False, steps=7)
    for _ in range(20):
        count = int(state.finished.count[0])
        rows += zip(state.finished.request[:count].tolist(), state.finished.tokens[:count].tolist(), strict=True)
        state = ask(state, SIZES, page.replace(lengths=jnp.zeros_like(page.lengths)), 2, False, steps=7)
    assert rows == list(zip(at_once.request[:12].tolist(), at_once.tokens[:12].tolist(), strict=True))


@pytest.mark.parametrize(
    ("limit", "slots", "devices", "widths", "busy"),
    [(60, 32, 1, {32}, 0.9), (128, 32, 1, {32, 8}, 0.95), (128, 8, 2, {16, 4}, 0.92)],
)
def test_slots_are_busy_until_the_requests_run_out_and_the_last_long_ones_are_decoded_by_themselves(
    limit: int, slots: int, devices: int, widths: set[int], busy: float
):
    steps: list[int] = []
    model, mesh = counting_model(steps), build_mesh(MeshShape(), jax.devices()[:devices])
    lengths = np.minimum(np.random.default_rng(0).geometric(0.05, 512), 60)
    engine = build_engine(model, mesh, SamplerSettings(1, limit, (END,), slots=slots))
    found = engine.generate({}, [[1, int(length)] for length in lengths], range(512), jax.random.key(0), 0.0)
    jax.effects_barrier()
    for length, tokens, said in zip(lengths, found.tokens[:, 0], found.lengths[:, 0], strict=True):
        assert said == length and tokens[:length].tolist() == list(range(length - 1, -1, -1))
    assert set(steps) == widths and lengths.sum() >= busy * sum(steps)


@pytest.mark.parametrize(("every", "devices"), [(1, 1), (7, 2)])
def test_looks_at_the_last_completions_change_nothing(every: int, devices: int):
    mesh, lengths = build_mesh(MeshShape(), jax.devices()[:devices]), [90, 3, 70, 4, 5, 6, 80] * 4
    prompts = [[1, length] for length in lengths]
    engine = build_engine(MODEL, mesh, SamplerSettings(1, 128, (END,)))
    watch = Watch(lambda writing: [GO_ON] * len(writing.tokens), every)
    found = engine.generate({}, prompts, range(len(prompts)), jax.random.key(0), 0.0, watch=watch)
    assert found.lengths[:, 0].tolist() == lengths
