"""The fused token log-probabilities against the definition in float64, forward and backward.

Legend: B rows, T time, D model width, V vocabulary.
"""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import entr, log_softmax, logsumexp, softmax

from reasoning.core.errors import InputError
from reasoning.kernels.backends import chunked
from reasoning.kernels.token_log_probs import summed_losses, token_log_probs
from reasoning.planning.shapes import arrays_pairing

PLAIN = {"temperature": 1.0, "soft_cap": None, "biased": False}
VARIANTS = {
    "plain": PLAIN,
    "temperature": PLAIN | {"temperature": 0.6},
    "temperature per row": PLAIN | {"temperature": ((0.6,), (1.7,))},
    "soft cap": PLAIN | {"soft_cap": 2.0},
    "bias": PLAIN | {"biased": True},
    "all": {"temperature": 1.3, "soft_cap": 3.0, "biased": True},
}


def problem(batch, length, width, vocabulary, seed=0):
    """Random hidden states, matrix, bias, targets and upstream gradients of the three results, in float64."""
    random = np.random.default_rng(seed)
    hidden, matrix = random.normal(size=(batch, length, width)), random.normal(size=(width, vocabulary))
    targets = random.integers(0, vocabulary, size=(batch, length))
    return hidden, matrix, random.normal(size=vocabulary), targets, random.normal(size=(3, batch, length))


def definition(hidden, matrix, bias, targets, temperature: Any = 1.0, soft_cap: Any = None, biased: Any = True):
    """Log-probability, entropy and log-sum-exp, each from its definition."""
    logits = hidden @ matrix + (bias if biased else 0)
    if soft_cap is not None:
        logits = soft_cap * np.tanh(logits / soft_cap)
    logits = logits / np.asarray(temperature).reshape(-1, 1, 1)
    log_prob = np.take_along_axis(log_softmax(logits, axis=-1), targets[..., None], axis=-1)[..., 0]
    return np.stack([log_prob, entr(softmax(logits, axis=-1)).sum(-1), logsumexp(logits, axis=-1)])


def fused(hidden, matrix, bias, targets, temperature: Any = 1.0, soft_cap=None, biased=True, **options):
    temperature = temperature if isinstance(temperature, float) else jnp.asarray(temperature)
    return token_log_probs(
        hidden, matrix, targets, temperature=temperature, soft_cap=soft_cap, bias_V=bias if biased else None, **options
    )


OPTIONS = ("temperature", "soft_cap", "biased", "kernels")


@functools.partial(jax.jit, static_argnames=OPTIONS)
def results_of(hidden, matrix, bias, targets, **options):
    return fused(hidden, matrix, bias, targets, **options)


@functools.partial(jax.jit, static_argnames=OPTIONS)
def gradients(arrays, upstream, **options):
    """The gradients of all three results at once, each token's weighted by its own upstream gradient."""

    def weighted(hidden, matrix, bias):
        results = fused(hidden, matrix, bias, arrays[3], **options)
        return sum(jnp.sum(weight * result) for weight, result in zip(upstream, results, strict=True))

    return jax.grad(weighted, argnums=(0, 1, 2))(*arrays[:3])


def as_float32(arrays):
    return [jnp.asarray(x, jnp.float32 if x.dtype == np.float64 else None) for x in arrays]


RAGGED = [(2, 1, 1, 1), (2, 3, 4, 11), (2, 17, 8, 33)]


@pytest.mark.parametrize(
    ("shape", "variant"),
    [((2, 9, 5, 7), variant) for variant in VARIANTS.values()] + [(shape, VARIANTS["all"]) for shape in RAGGED],
)
def test_results_are_those_of_the_definition_at_ragged_sizes(shape, variant):
    *arrays, _ = problem(*shape)
    results = results_of(*as_float32(arrays), **variant)
    assert all(result.dtype == jnp.float32 for result in results)
    np.testing.assert_allclose(jnp.stack(results), definition(*arrays, **variant), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
def test_gradients_are_finite_differences_of_the_definition(variant):
    *arrays, upstream = problem(2, 5, 3, 5)

    def value(position, index, step):
        moved = [np.array(x) for x in arrays]
        moved[position][index] += step
        return np.sum(upstream * definition(*moved, **variant))

    with jax.enable_x64(True):
        computed = gradients([jnp.asarray(x) for x in arrays], upstream, **variant)
    for position, gradient in enumerate(computed):
        for index in itertools.product(*map(range, arrays[position].shape)):
            difference = (value(position, index, 1e-5) - value(position, index, -1e-5)) / 2e-5
            assert gradient[index] == pytest.approx(difference, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(
    ("shape", "logits_bytes"),
    [((1, 1, 3, 5), 2**20), ((3, 17, 4, 9), 2**20), ((3, 17, 4, 9), 4), ((9, 2, 3, 5), 2**20)],
)
def test_gradients_do_not_depend_on_how_tokens_are_chunked(shape, logits_bytes):
    *arrays, upstream = problem(*shape)

    def whole(hidden, matrix, bias):
        logits = hidden @ matrix + bias[None, None, :]
        log_p = jax.nn.log_softmax(logits)
        log_prob = jnp.take_along_axis(log_p, jnp.asarray(arrays[3])[..., None], axis=-1)[..., 0]
        results = log_prob, -(jnp.exp(log_p) * log_p).sum(-1), jax.nn.logsumexp(logits, axis=-1)
        return sum(jnp.sum(weight * result) for weight, result in zip(upstream, results, strict=True))

    with jax.enable_x64(True):
        computed = gradients([jnp.asarray(x) for x in arrays], upstream, kernels=chunked(logits_bytes))
        expected = jax.jit(jax.grad(whole, argnums=(0, 1, 2)))(*map(jnp.asarray, arrays[:3]))
    for one, other in zip(computed, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_logits_of_ten_thousand_keep_full_precision():
    columns = np.array([[1e4, 1e4 - 1, 1e4 - 3, -1e4, 0.0]])
    hidden, targets = np.array([[[1.0]] * 5, [[-1.0]] * 5]), np.array([[0, 1, 2, 3, 4]] * 2)
    arrays = hidden, columns, np.zeros(5), targets
    results = results_of(*as_float32(arrays))
    np.testing.assert_allclose(jnp.stack(results), definition(*arrays), rtol=1e-6, atol=1e-6)


def test_gradients_at_logits_of_ten_thousand_are_exact_and_finite():
    hidden, columns = np.ones((1, 1, 1)), np.array([[1e4, 1e4 - 1, -1e4]])
    p = softmax(columns[0])
    entropy = entr(p).sum()
    upstream = np.array([[[3.0]], [[5.0]], [[7.0]]])
    log_p = log_softmax(columns[0])
    slopes = 3 * (np.array([0, 1, 0]) - p) - 5 * p * (log_p + entropy) + 7 * p
    arrays = as_float32((hidden, columns, np.zeros(3), np.array([[1]])))
    of_hidden, of_matrix, of_bias = gradients(arrays, upstream)
    np.testing.assert_allclose(of_matrix[0], slopes, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(of_bias, slopes, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(of_hidden[0, 0, 0], (slopes * columns).sum(), rtol=1e-4)


def test_bfloat16_inputs_lose_nothing_in_the_forward_pass():
    *arrays, _ = problem(2, 33, 64, 500)
    narrow = [jnp.asarray(x, jnp.bfloat16) if x.dtype == np.float64 else jnp.asarray(x) for x in arrays]
    rounded = [np.asarray(x, np.float64) if x.dtype == jnp.bfloat16 else np.asarray(x) for x in narrow]
    results = results_of(*narrow)
    assert all(result.dtype == jnp.float32 for result in results)
    np.testing.assert_allclose(jnp.stack(results), definition(*rounded), rtol=1e-5, atol=1e-4)


def test_bfloat16_gradients_are_within_its_rounding_and_have_its_type():
    *arrays, upstream = problem(2, 33, 64, 100)
    narrow = [jnp.asarray(x, jnp.bfloat16) if x.dtype == np.float64 else jnp.asarray(x) for x in arrays]
    computed = gradients(narrow, upstream)
    exact = gradients(
        as_float32([np.asarray(x, np.float64) if x.dtype == jnp.bfloat16 else x for x in narrow]), upstream
    )
    for one, other in zip(computed, exact, strict=True):
        assert one.dtype == jnp.bfloat16
        error = np.linalg.norm(np.asarray(one, np.float64) - np.asarray(other, np.float64))
        assert error < 2**-8 * np.linalg.norm(np.asarray(other, np.float64))


def test_every_product_of_bfloat16_matrices_is_accumulated_in_float32():
    """Seen in the program, since the CPU keeps more precision than it is asked for."""
    *arrays, upstream = problem(2, 9, 5, 7)
    narrow = [jnp.asarray(x, jnp.bfloat16) if x.dtype == np.float64 else jnp.asarray(x) for x in arrays]
    program = gradients.lower(narrow, upstream).as_text()
    products = [line for line in program.splitlines() if "dot_general" in line]
    assert len(products) == 4, "logits twice, and one for each gradient"
    assert all("xbf16>, tensor" in line and line.endswith("xf32>") for line in products)


def test_the_matrix_gradient_of_bfloat16_inputs_is_summed_in_float32():
    """4096 equal terms: a bfloat16 sum would stop growing at 256 of them."""
    hidden, matrix = jnp.ones((1, 4096, 1), jnp.bfloat16), jnp.zeros((1, 2), jnp.bfloat16)
    targets = jnp.zeros((1, 4096), jnp.int32)
    upstream = jnp.zeros((3, 1, 4096)).at[0].set(1)
    of_matrix = gradients((hidden, matrix, jnp.zeros(2), targets), upstream)[1]
    np.testing.assert_array_equal(np.asarray(of_matrix, np.float32), [[2048.0, -2048.0]])


def test_an_ignored_target_has_log_prob_zero_and_passes_no_gradient_whatever_comes_from_above():
    *arrays, upstream = problem(2, 9, 5, 7)
    hidden, matrix, bias, targets = as_float32(arrays)
    ignored = np.zeros((2, 9), bool)
    ignored[0, :4] = ignored[1, 8] = True
    masked = jnp.where(ignored, -100, targets)
    results, kept = results_of(hidden, matrix, bias, masked), results_of(hidden, matrix, bias, targets)
    np.testing.assert_array_equal(results.log_prob_BT, np.where(ignored, 0, kept.log_prob_BT))
    np.testing.assert_array_equal(results.entropy_BT, kept.entropy_BT)
    np.testing.assert_array_equal(results.logsumexp_BT, kept.logsumexp_BT)
    silent, broken = upstream.copy(), upstream.copy()
    silent[0][ignored], broken[0][ignored] = 0, np.nan
    expected = gradients((hidden, matrix, bias, targets), silent)
    for one, other in zip(gradients((hidden, matrix, bias, masked), broken), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def test_a_fully_ignored_batch_gives_exactly_zero_gradients_of_the_log_prob():
    *arrays, upstream = problem(2, 9, 5, 7)
    upstream[1:] = 0
    hidden, matrix, bias, targets = as_float32(arrays)
    for gradient in gradients((hidden, matrix, bias, jnp.full_like(targets, -1)), upstream):
        np.testing.assert_array_equal(gradient, 0)


def test_a_target_beyond_the_vocabulary_gives_nan_at_its_token_only():
    *arrays, upstream = problem(1, 9, 5, 7)
    hidden, matrix, bias, targets = as_float32(arrays)
    wrong = targets.at[0, 3].set(7)
    log_prob = results_of(hidden, matrix, bias, wrong).log_prob_BT
    np.testing.assert_array_equal(np.isnan(log_prob), np.arange(9)[None, :] == 3)
    of_hidden, of_matrix, _ = gradients((hidden, matrix, bias, wrong), upstream)
    np.testing.assert_array_equal(np.isnan(of_hidden).any(-1), np.arange(9)[None, :] == 3)
    assert np.isnan(of_matrix).all()


def test_zero_upstream_gradients_give_exactly_zero_gradients():
    *arrays, upstream = problem(2, 9, 5, 7)
    for gradient in gradients(as_float32(arrays), 0 * upstream):
        np.testing.assert_array_equal(gradient, 0)


def test_huge_upstream_gradients_scale_and_do_not_spill_over_to_silent_tokens():
    *arrays, upstream = problem(2, 9, 5, 7)
    loud = np.zeros((2, 9), bool)
    loud[0, 2] = loud[1, 8] = True
    arrays, upstream = as_float32(arrays), np.where(loud, upstream, 0).astype(np.float32)
    of_hidden, of_matrix, of_bias = gradients(arrays, upstream * np.float32(2.0**100))
    np.testing.assert_array_equal((np.asarray(of_hidden) != 0).any(-1), loud)
    for one, other in zip((of_hidden, of_matrix, of_bias), gradients(arrays, upstream), strict=True):
        np.testing.assert_allclose(one, np.asarray(other) * np.float32(2.0**100), rtol=1e-6)


def test_tiny_upstream_gradients_are_not_filtered_out_beside_huge_ones():
    *arrays, _ = problem(1, 9, 5, 7)
    arrays = as_float32(arrays)
    weights = np.zeros((3, 1, 9), np.float32)
    weights[0, 0, 0], weights[0, 0, 1] = 1e-20, 1e20
    alone = np.where(np.arange(9) == 0, weights, 0)
    of_hidden = gradients(arrays, weights)[0]
    assert np.abs(of_hidden[0, 0]).max() > 0
    np.testing.assert_array_equal(of_hidden[0, 0], gradients(arrays, alone)[0][0, 0])


def test_temperature_is_a_constant_to_gradients():
    *arrays, _ = problem(1, 9, 5, 7)
    hidden, matrix, _, targets = as_float32(arrays)
    total = jax.grad(lambda t: token_log_probs(hidden, matrix, targets, temperature=t).log_prob_BT.sum())
    assert jax.jit(total)(jnp.float32(0.7)) == 0


@pytest.mark.parametrize("flat_rows", [1, 4])
def test_no_array_pairs_the_vocabulary_with_more_than_a_quarter_of_the_tokens(flat_rows):
    vocabulary, width, length = 1009, 24, 480
    *arrays, upstream = problem(flat_rows, length, width, vocabulary)
    tokens = flat_rows * length
    traced = gradients.trace(as_float32(arrays), upstream)
    assert arrays_pairing(traced.jaxpr, vocabulary, tokens) == []
    assert arrays_pairing(traced.lower().compile().as_text(), vocabulary, tokens) == []
    assert arrays_pairing(traced.jaxpr, vocabulary, tokens, share=1 / 11) != []


@functools.partial(jax.jit, static_argnames=("soft_cap", "temperature", "one_pass", "kernels"))
def total_and_gradients(arrays, weights, *, one_pass, **options):
    """Three times a sum over tokens, with the three results and gradients, by one pass or two."""

    def loss(log_probs, weights):
        return weights * (log_probs + jnp.exp(log_probs / 4))

    def total(hidden, matrix, bias, weights):
        if one_pass:
            sum_, results = summed_losses(hidden, matrix, arrays[3], loss, weights, bias_V=bias, **options)
            return 3 * sum_, results
        results = token_log_probs(hidden, matrix, arrays[3], bias_V=bias, **options)
        return 3 * jnp.sum(loss(results.log_prob_BT, weights)), results

    return jax.value_and_grad(total, argnums=(0, 1, 2, 3), has_aux=True)(*arrays[:3], weights)


@pytest.mark.parametrize("kernels", [chunked(4), chunked()], ids=["few", "many"])
@pytest.mark.parametrize(("dtype", "soft_cap"), [("float32", None), ("float32", 2.0), ("bfloat16", None)])
def test_one_pass_gives_what_two_give_with_ignored_targets_too(dtype, soft_cap, kernels):
    *arrays, upstream = as_float32(problem(3, 17, 8, 33))
    arrays[:3] = (each.astype(dtype) for each in arrays[:3])
    arrays[3] = arrays[3].at[0, :3].set(-1)
    given = {"temperature": 0.6, "soft_cap": soft_cap, "kernels": kernels}
    one, two = (total_and_gradients(arrays, upstream[0], one_pass=each, **given) for each in (True, False))
    near = 1e-5 if dtype == "float32" else 2.0**-7
    for found, expected in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        wanted = np.float32(expected)
        np.testing.assert_allclose(np.float32(found), wanted, rtol=near, atol=near * max(1.0, np.abs(wanted).max()))


def products(dtype, whole_sums):
    *arrays, upstream = as_float32(problem(1, 9, 5, 7))
    arrays[:3] = (each.astype(dtype) for each in arrays[:3])
    given = {"one_pass": True, "kernels": chunked(whole_sums=whole_sums)}
    return total_and_gradients.lower(arrays, upstream[0], **given).as_text().count("dot_general")


def test_one_pass_makes_logits_once_and_two_do_it_where_a_sum_would_be_wider_than_the_matrix_gradient():
    assert (products(jnp.float32, False), products(jnp.bfloat16, True), products(jnp.bfloat16, False)) == (3, 3, 4)


def test_one_pass_makes_no_array_of_the_vocabulary_and_more_than_a_quarter_of_the_tokens():
    *arrays, upstream = as_float32(problem(4, 480, 24, 1009))
    traced = total_and_gradients.trace(arrays, upstream[0], one_pass=True)
    assert arrays_pairing(traced.jaxpr, 1009, 4 * 480) == []
    assert arrays_pairing(traced.lower().compile().as_text(), 1009, 4 * 480) == []


def test_values_of_another_shape_are_refused():
    *arrays, _ = as_float32(problem(2, 9, 5, 7))
    with pytest.raises(InputError, match=r"values \(2, 1\) and targets \(2, 9\) must both be"):
        summed_losses(*arrays[:2], arrays[3], jnp.multiply, jnp.ones((2, 1)))


BAD = {
    r"hidden states \(2, 9, 5\) and unembedding \(4, 7\)": {"unembed_DV": np.zeros((4, 7), np.float32)},
    r"targets \(2, 8\) must be": {"targets_BT": np.zeros((2, 8), np.int32)},
    r"bias \(6,\) must be": {"bias_V": np.zeros(6, np.float32)},
    "temperature is 0.0": {"temperature": 0.0},
    "temperature is nan": {"temperature": float("nan")},
    "soft_cap is -1.0": {"soft_cap": -1.0},
}


@pytest.mark.parametrize(("message", "change"), BAD.items(), ids=BAD)
def test_inputs_that_do_not_fit_are_refused_with_their_shapes(message, change):
    hidden, matrix, _, targets = as_float32(problem(2, 9, 5, 7)[:4])
    given: dict[str, Any] = {"hidden_BTD": hidden, "unembed_DV": matrix, "targets_BT": targets} | {
        name: jnp.asarray(value) if isinstance(value, np.ndarray) else value for name, value in change.items()
    }
    with pytest.raises(InputError, match=message):
        token_log_probs(**given)
