"""Schedules and optimizers against their formulas, and how they share one update."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax.contrib import MuonDimensionNumbers

from reasoning.core.errors import InputError
from reasoning.training.optimizers import (
    Adafactor,
    AdamW,
    Muon,
    Optimizer,
    cosine,
    decay_mask,
    learning_rate,
    linear,
    matrix_axes,
    scheduled_rate,
    transformation_of,
)


@pytest.mark.parametrize(
    ("count", "share"), [(0, 0.25), (1, 0.5), (3, 1.0), (50, 1.0), (75, 1.0), (85, 0.62), (95, 0.24), (100, 0.05)]
)
def test_the_rate_warms_up_stays_and_falls_linearly_to_its_final_share(count: int, share: float):
    np.testing.assert_allclose(scheduled_rate(count, 2.0, 4.0, 75.0, 25.0, 0.05, linear), 2 * share, rtol=1e-6)


@pytest.mark.parametrize("build", [AdamW, Muon, Adafactor])
@pytest.mark.parametrize("warmup", [0, 5])
def test_a_cosine_schedule_gives_optax_rates_and_the_state_tells_them(build: Callable[..., Optimizer], warmup: int):
    optimizer = build(3e-3, warmup=warmup, decay_share=1.0, final_share=0.1, schedule=cosine).build(20)
    falling = optax.cosine_decay_schedule(3e-3, 20 - warmup, alpha=0.1)
    rising = optax.linear_schedule(3e-3 / max(warmup, 1), 3e-3, max(warmup - 1, 1))
    expected = optax.join_schedules([rising, falling], [warmup])
    params = {"w": jnp.ones((4, 4)), "bias": jnp.ones(4)}
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for count in range(22):
        _, state = update(jax.tree.map(jnp.ones_like, params), state, params)
        np.testing.assert_allclose(learning_rate(state), expected(count), rtol=1e-5)


def test_a_rate_that_no_state_keeps_or_that_is_not_one_is_not_told():
    params = {"w": jnp.ones(2)}
    assert learning_rate(optax.adam(1e-3).init(params)) is None
    injected = optax.inject_hyperparams(optax.sgd)(learning_rate=0.25)
    assert learning_rate(injected.init(params)) == 0.25
    assert learning_rate(optax.chain(injected, injected).init(params)) is None


def test_a_schedule_that_never_falls_is_refused():
    with pytest.raises(InputError, match=r"schedule is cosine, but decay_share is 0.*set decay_share = 1.0"):
        AdamW(1e-3, schedule=cosine)


def test_without_a_decay_share_the_rate_stays_flat_to_the_end():
    settings = AdamW(0.1)
    params = {"w": jnp.ones(2)}
    optimizer = settings.build(3)
    state = optimizer.init(params)
    for _ in range(3):
        change, state = optimizer.update({"w": jnp.ones(2)}, state, params)
        np.testing.assert_allclose(change["w"], -0.1, rtol=1e-4)  # Adam's first steps on equal gradients are sign steps


def test_updates_equal_optax_adamw_with_clip_and_mask():
    settings = AdamW(3e-3, warmup=2, beta1=0.8, beta2=0.9, epsilon=1e-6, weight_decay=0.1, clip_norm=0.5)
    generator = np.random.default_rng(0)
    params = {"w": jnp.asarray(generator.normal(size=(3, 2))), "norm": {"scale": jnp.ones(3)}}
    other = optax.chain(
        optax.clip_by_global_norm(0.5),
        optax.adamw(
            lambda count: 3e-3 * jnp.minimum((count + 1) / 2, 1), 0.8, 0.9, 1e-6, weight_decay=0.1, mask=decay_mask
        ),
    )
    ours = settings.build(10)
    states, trees = [ours.init(params), other.init(params)], [params, params]
    updates = jax.jit(ours.update), jax.jit(other.update)
    for _ in range(4):
        gradient = jax.tree.map(lambda leaf: jnp.asarray(generator.normal(size=leaf.shape)), params)
        for index, update in enumerate(updates):
            change, states[index] = update(gradient, states[index], trees[index])
            trees[index] = optax.apply_updates(trees[index], change)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), *trees)


def test_norm_scales_and_biases_are_not_decayed():
    tree = {"attention": {"query": 0, "query_bias": 0}, "mlp_norm": {"scale": 0}, "embedding": 0}
    assert decay_mask(tree) == {
        "attention": {"query": True, "query_bias": False},
        "mlp_norm": {"scale": False},
        "embedding": True,
    }


PAIRS = [
    (AdamW(0.1, warmup=3), AdamW(0.2, decay_share=0.5, weight_decay=0.3, beta1=0.5)),
    (Muon(0.1), Muon(0.3, warmup=2, momentum=0.5, beta2=0.9)),
    (Adafactor(0.1), Adafactor(0.2, final_share=0.5, decay_share=1.0, decay=0.5, clip_update=0.1)),
]
each_pair = pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda settings: type(settings).__name__)


def tree(seed: int = 0) -> Any:
    """Parameters, or gradients, under the names of a model with stacked layers, heads and an adapter."""
    generator = np.random.default_rng(seed)
    shapes = {
        "embedding": (6, 4),
        "head": (4, 6),
        "norm": {"scale": (2, 4)},
        "attention": {"query": (2, 4, 2, 3), "query_bias": (2, 2, 3), "output": (2, 2, 3, 4)},
        "mlp": {"gate": (2, 4, 8), "gate_lora": {"down": (2, 4, 2), "up": (2, 2, 8)}},
        "query_lora": {"down": (2, 4, 2), "up": (2, 2, 2, 3)},
        "output_lora": {"down": (2, 2, 3, 2), "up": (2, 2, 4)},
        "experts": {"gate": (2, 3, 4, 8)},
    }
    make = partial(generator.normal, 0, 0.3)
    return jax.tree.map(lambda shape: jnp.asarray(make(shape), jnp.float32), shapes, is_leaf=is_shape)


def is_shape(value: Any) -> bool:
    return isinstance(value, tuple)


@cache
def updates_of(optimizer: Optimizer, steps: int = 3) -> list[Any]:
    built = optimizer.build(steps)
    params, changes = tree(), []
    state, update = built.init(params), jax.jit(built.update)
    for step in range(steps):
        change, state = update(tree(step + 1), state, params)
        params = jax.jit(optax.apply_updates)(params, change)
        changes.append(change)
    return changes


@each_pair
def test_settings_are_state_so_that_stages_share_one_compiled_step(one: Optimizer, other: Optimizer):
    params, texts = tree(), []
    for optimizer in (one.build(10), other.build(99)):
        state = optimizer.init(params)
        texts.append(jax.jit(optimizer.update).lower(params, state, params).as_text())
    assert texts[0] == texts[1]


@each_pair
def test_all_transformations_have_the_very_same_update_by_which_stages_find_their_step(
    one: Optimizer, other: Optimizer
):
    first, second = one.build(10), other.build(99)
    assert first.update is second.update and first.init is not second.init


def test_transformations_of_other_kinds_and_constants_have_another_update():
    settings = [AdamW(0.1), Muon(0.1), Adafactor(0.1), Adafactor(0.1, factored_from=4)]
    assert len({one.build(10).update for one in settings}) == 4


@each_pair
def test_the_shared_update_does_what_the_state_says_whoever_made_it(one: Optimizer, other: Optimizer):
    params, gradient = tree(), tree(1)
    built, state = one.build(10), other.build(99).init(params)
    update, others = jax.jit(built.update), jax.jit(other.build(99).update)
    change, after = update(gradient, state, params)
    expected, _ = others(gradient, state, params)
    jax.tree.map(np.testing.assert_array_equal, change, expected)
    jax.tree.map(np.testing.assert_array_equal, after.numbers, state.numbers)
    own, _ = update(gradient, built.init(params), params)
    assert not np.allclose(change["head"], own["head"])


def orthogonalized(matrix: np.ndarray) -> np.ndarray:
    """Five quintic Newton-Schulz iterations, as of kellerjordan.github.io/posts/muon."""
    x = matrix / (np.linalg.norm(matrix) + 1e-8)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        (("mlp", "gate"), (2, 4, 8)),
        (("attention", "query"), (2, 4, 6)),
        (("attention", "output"), (2, 6, 4)),
        (("mlp", "gate_lora", "down"), (2, 4, 2)),
        (("query_lora", "up"), (2, 2, 6)),
        (("output_lora", "down"), (2, 6, 2)),
        (("experts", "gate"), (6, 4, 8)),
    ],
)
def test_muon_orthogonalizes_the_momentum_of_each_matrix_alone_with_all_heads_as_one(
    path: tuple[str, ...], shape: tuple[int, ...]
):
    """In float64: Nesterov momentum, then an update of Adam's size, arXiv 2502.16982, eq. 4."""

    def leaf(whole: Any) -> np.ndarray:
        for name in path:
            whole = whole[name]
        return np.asarray(whole, np.float64).reshape(shape)

    beta, changes = 0.9, updates_of(Muon(0.01, momentum=0.9, clip_norm=1e6))
    momentum = np.zeros(shape)
    for step, change in enumerate(changes, start=1):
        gradient = leaf(tree(step))
        momentum = beta * momentum + (1 - beta) * gradient
        ahead = beta * momentum / (1 - beta ** (step + 1)) + (1 - beta) * gradient / (1 - beta**step)
        expected = [-0.01 * 0.2 * max(shape[1:]) ** 0.5 * orthogonalized(one) for one in ahead]
        np.testing.assert_allclose(leaf(change), expected, rtol=2e-3, atol=2e-5)


def test_muon_leaves_embeddings_head_norms_and_biases_to_adam():
    muon, adam = updates_of(Muon(0.01, clip_norm=1e6)), updates_of(AdamW(0.01, clip_norm=1e6))
    for ours, theirs in zip(muon, adam, strict=True):
        for name in ("embedding", "head", "norm"):
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), ours[name], theirs[name])
        np.testing.assert_allclose(ours["attention"]["query_bias"], theirs["attention"]["query_bias"], rtol=1e-6)


def test_muon_takes_the_last_two_axes_of_a_matrix_whose_name_means_something_else_elsewhere():
    params = {"dense": {"output": jnp.ones((3, 5))}, "layers": {"kernel": jnp.ones((4, 3, 5))}, "b": jnp.ones(3)}
    axes = matrix_axes(params)
    assert axes["dense"]["output"] == axes["layers"]["kernel"] == MuonDimensionNumbers((-2,), (-1,))
    assert axes["b"] is None


def test_adafactor_is_algorithm_4_of_its_paper_over_the_two_longest_axes():
    """arXiv 1804.04235 in float64, with its epsilons and without momentum."""
    settings = Adafactor(0.05, decay=0.7, clip_update=0.8, factored_from=4, clip_norm=1e6)
    changes = updates_of(settings)
    x = np.asarray(tree()["mlp"]["gate"], np.float64)
    row, column = np.zeros((2, 4)), np.zeros((2, 8))
    for step, change in enumerate(changes, start=1):
        gradient = np.asarray(tree(step)["mlp"]["gate"], np.float64)
        kept, square = 1 - step**-0.7, gradient**2 + 1e-30
        row = kept * row + (1 - kept) * square.mean(axis=2)
        column = kept * column + (1 - kept) * square.mean(axis=1)
        second = row[:, :, None] * column[:, None, :] / row.mean(axis=1)[:, None, None]
        scaled = gradient / np.sqrt(second)
        scaled /= max(1.0, np.sqrt((scaled**2).mean()) / 0.8)
        expected = -0.05 * max(1e-3, np.sqrt((x**2).mean())) * scaled
        np.testing.assert_allclose(change["mlp"]["gate"], expected, rtol=2e-5, atol=1e-8)
        x = x + expected


@pytest.mark.parametrize("settings", [AdamW, Muon, Adafactor])
def test_all_clip_warm_up_fall_and_decay_alike(settings: Any):
    plain = updates_of(settings(0.01, clip_norm=1e6))
    warm = updates_of(settings(0.01, clip_norm=1e6, warmup=2))
    np.testing.assert_allclose(warm[0]["head"], plain[0]["head"] / 2, rtol=1e-5)
    falling = updates_of(settings(0.01, clip_norm=1e6, decay_share=1.0, final_share=0.1))
    np.testing.assert_allclose(falling[1]["head"], plain[1]["head"] * (1 - 0.9 / 3), rtol=2e-2)
    heavy = updates_of(settings(0.01, clip_norm=1e6, weight_decay=0.5))
    np.testing.assert_allclose(heavy[0]["head"] - plain[0]["head"], -0.01 * 0.5 * tree()["head"], atol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, heavy[0]["norm"], plain[0]["norm"])
    assert isinstance(settings(0.01), Optimizer)


def test_adafactors_state_is_a_fraction_of_its_parameters_and_adams_is_twice_their_size():
    params = {"w": jnp.zeros((256, 512))}
    sizes = [
        sum(leaf.size for leaf in jax.tree.leaves(settings.build(1).init(params))) / (256 * 512)
        for settings in (Adafactor(0.1), AdamW(0.1), Muon(0.1))
    ]
    assert sizes[0] < 0.01 and 2 < sizes[1] < 2.001 and 1 < sizes[2] < 1.001


def test_momentum_in_bfloat16_takes_half_the_room_and_moves_parameters_as_adam_by_its_formula():
    random = np.random.default_rng(0)
    gradients = random.normal(size=(5, 64)).astype(np.float32)
    optimizer = AdamW(1e-3, beta1=0.8, beta2=0.9, clip_norm=1e6, momentum_dtype="bfloat16").build(5)
    params = {"w": jnp.zeros(64)}
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    kept = [leaf.dtype for leaf in jax.tree.leaves(state) if leaf.shape == (64,)]
    assert sorted(map(str, kept)) == ["bfloat16", "float32"]
    first, second = np.zeros(64), np.zeros(64)
    for count, gradient in enumerate(np.float64(gradients), start=1):
        change, state = update({"w": jnp.asarray(gradient, jnp.float32)}, state, params)
        first, second = 0.8 * first + 0.2 * gradient, 0.9 * second + 0.1 * gradient**2
        wanted = -1e-3 * (first / (1 - 0.8**count)) / (np.sqrt(second / (1 - 0.9**count)) + 1e-8)
        np.testing.assert_allclose(change["w"], wanted, atol=1e-3 * 2**-7, rtol=0)


@dataclass(frozen=True)
class Nothing:
    """A user's optimizer that forgets to return."""

    def build(self, steps: int) -> Any:
        return None


def test_an_optimizer_or_a_schedule_that_gives_something_else_is_refused_with_its_place():
    with pytest.raises(InputError, match=r"the optimizer .*Nothing.build \(test_optimizers.py:\d+\) gave None"):
        transformation_of(Nothing(), 3)
    falling: Any = [].append
    with pytest.raises(InputError, match=r"schedule .* gave None, where one of shape \[\] is wanted"):
        scheduled_rate(1, 1.0, 0, 0, 4, 0.0, falling)
