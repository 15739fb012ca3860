"""The fused token divergence against the definition in float64, forward and backward.

Legend: B rows, T time, D the student's width, E the teacher's, V vocabulary.
"""

import functools
import itertools

import divergences
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from divergences import OWN
from scipy.special import log_softmax

from reasoning.core.errors import InputError
from reasoning.kernels.backends import chunked
from reasoning.kernels.token_divergence import token_divergence
from reasoning.objectives.divergence import JSD, forward, reverse
from reasoning.planning.shapes import arrays_pairing

ALL = {"forward": forward, "reverse": reverse, "jsd 0.5": JSD(), "jsd 0.1": JSD(0.1), "jsd 0.9": JSD(0.9), **OWN}


def each(*names):
    """A test for each of these divergences; all but the first are slow ones."""
    marks = [(), *[pytest.mark.slow] * (len(names) - 1)]
    return pytest.mark.parametrize(
        "divergence", [pytest.param(ALL[name], id=name, marks=mark) for name, mark in zip(names, marks, strict=True)]
    )


every_divergence = each(*ALL)
shipped = each("forward", "reverse", "jsd 0.1")


def problem(batch, length, width, teacher_width, vocabulary, seed=0):
    """Student's and teacher's hidden states and matrices, and an upstream gradient, in float64."""
    random = np.random.default_rng(seed)
    return (
        random.normal(size=(batch, length, width)),
        random.normal(size=(width, vocabulary)),
        random.normal(size=(batch, length, teacher_width)),
        random.normal(size=(teacher_width, vocabulary)),
        random.normal(size=(batch, length)),
    )


def definition(hidden, matrix, teacher_hidden, teacher_matrix, divergence, temperature=1.0):
    """Each divergence as the papers write it."""
    tau = np.asarray(temperature).reshape(-1, 1, 1)
    log_q = log_softmax(hidden @ matrix / tau, axis=-1)
    log_p = log_softmax(teacher_hidden @ teacher_matrix / tau, axis=-1)
    return divergences.definition(divergence, log_p, log_q)


OPTIONS = ("divergence", "temperature", "kernels", "vocabulary")


def fused(*arrays, temperature=1.0, **options):
    return token_divergence(
        *arrays,
        temperature=temperature if isinstance(temperature, float) else jnp.asarray(temperature),
        **options,
    )


@functools.partial(jax.jit, static_argnames=OPTIONS)
def values_of(*arrays, **options):
    return fused(*arrays, **options)


@functools.partial(jax.jit, static_argnames=OPTIONS)
def gradients(arrays, upstream, **options):
    """Of the sum of all tokens' divergences, each weighted by its upstream gradient, to all four arrays."""
    return jax.grad(lambda arrays: jnp.sum(upstream * fused(*arrays, **options)))(arrays)


def float32(arrays):
    return tuple(jnp.asarray(x, jnp.float32) for x in arrays)


@every_divergence
@pytest.mark.parametrize("shape", [(2, 1, 1, 2, 1), (2, 3, 4, 3, 11), (2, 17, 8, 5, 33), (9, 2, 3, 3, 7)], ids=str)
def test_values_are_those_of_the_definition_at_ragged_sizes(shape, divergence):
    *arrays, _ = problem(*shape)
    values = values_of(*float32(arrays), divergence=divergence)
    assert values.dtype == jnp.float32
    np.testing.assert_allclose(values, definition(*arrays, divergence=divergence), rtol=3e-5, atol=3e-6)


@pytest.mark.parametrize("temperature", [0.5, ((0.6,), (1.7,))], ids=str)
@shipped
def test_the_temperature_divides_the_logits_of_both(divergence, temperature):
    *arrays, upstream = problem(2, 9, 4, 3, 11)
    values = values_of(*float32(arrays), temperature=temperature, divergence=divergence)
    expected = definition(*arrays, temperature=temperature, divergence=divergence)
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)
    hidden, matrix, *teacher = float32(arrays)
    scaled = hidden / jnp.asarray(temperature).reshape(-1, 1, 1), matrix, teacher[0], teacher[1]
    if isinstance(temperature, float):
        by_hand = gradients((scaled[0], matrix, teacher[0] / temperature, teacher[1]), upstream, divergence=divergence)
        ours = gradients((hidden, matrix, *teacher), upstream, temperature=temperature, divergence=divergence)
        np.testing.assert_allclose(ours[0], by_hand[0] / temperature, rtol=2e-4, atol=1e-5)
        np.testing.assert_allclose(ours[1], by_hand[1], rtol=2e-4, atol=1e-5)


@every_divergence
def test_gradients_are_finite_differences_of_the_definition_and_the_teacher_gets_none(divergence):
    *arrays, upstream = problem(2, 5, 3, 2, 5)

    def value(position, index, step):
        moved = [np.array(x) for x in arrays]
        moved[position][index] += step
        return np.sum(upstream * definition(*moved, temperature=0.7, divergence=divergence))

    with jax.enable_x64(True):
        computed = gradients(tuple(jnp.asarray(x) for x in arrays), upstream, temperature=0.7, divergence=divergence)
    for position, gradient in enumerate(computed[:2]):
        for index in itertools.product(*map(range, arrays[position].shape)):
            difference = (value(position, index, 1e-5) - value(position, index, -1e-5)) / 2e-5
            assert gradient[index] == pytest.approx(difference, rel=1e-6, abs=1e-8)
    for gradient in computed[2:]:
        np.testing.assert_array_equal(gradient, 0)


@shipped
@pytest.mark.parametrize(
    ("shape", "logits_bytes"), [((1, 1, 3, 2, 5), 2**20), ((3, 17, 4, 4, 9), 2**20), ((3, 17, 4, 2, 9), 4)], ids=str
)
def test_gradients_do_not_depend_on_how_tokens_are_chunked(shape, logits_bytes, divergence):
    *arrays, upstream = problem(*shape)

    def whole(hidden, matrix, teacher_hidden, teacher_matrix):
        log_q, log_p = jax.nn.log_softmax(hidden @ matrix), jax.nn.log_softmax(teacher_hidden @ teacher_matrix)
        log_m = jnp.log(0.1 * jnp.exp(log_p) + 0.9 * jnp.exp(log_q))
        of = {
            forward: jnp.exp(log_p) * (log_p - log_q),
            reverse: jnp.exp(log_q) * (log_q - log_p),
            JSD(0.1): 0.1 * jnp.exp(log_p) * (log_p - log_m) + 0.9 * jnp.exp(log_q) * (log_q - log_m),
        }[divergence]
        return jnp.sum(upstream * of.sum(-1))

    with jax.enable_x64(True):
        arrays = tuple(jnp.asarray(x) for x in arrays)
        computed = gradients(arrays, upstream, kernels=chunked(logits_bytes), divergence=divergence)
        expected = jax.jit(jax.grad(whole, argnums=(0, 1)))(*arrays)
    for one, other in zip(computed, expected, strict=False):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


@shipped
def test_equal_logits_give_exactly_zero_and_no_gradient(divergence):
    hidden, matrix, *_, upstream = problem(2, 17, 8, 8, 33)
    arrays = float32((hidden, matrix, hidden, matrix))
    np.testing.assert_array_equal(values_of(*arrays, divergence=divergence), 0)
    for gradient in gradients(arrays, upstream, divergence=divergence):
        np.testing.assert_array_equal(gradient, 0)


@shipped
def test_equal_distributions_of_shifted_logits_give_zero_but_for_rounding(divergence):
    hidden, matrix, *_ = problem(2, 17, 8, 8, 33)
    shifted = np.concatenate([hidden, np.ones((2, 17, 1))], axis=-1), np.concatenate([matrix, np.full((1, 33), 9.0)])
    values = values_of(*float32((hidden, matrix, *shifted)), divergence=divergence)
    assert np.abs(values).max() < 1e-6


@shipped
def test_a_small_divergence_keeps_its_digits(divergence):
    """A student a little off: the divergence is of second order, and rounding of the first order would drown it."""
    hidden, matrix, *_ = problem(2, 17, 8, 8, 333)
    arrays = hidden * 1.003, matrix, hidden, matrix
    expected = definition(*arrays, divergence=divergence)
    assert expected.max() < 1e-3
    np.testing.assert_allclose(values_of(*float32(arrays), divergence=divergence), expected, rtol=0.01, atol=5e-7)
    assert np.asarray(values_of(*float32(arrays), divergence=divergence)).min() > -2e-7


EXTREMES = np.array([[1e4, 1e4 - 1, 1e4 - 3, -1e4, 0.0]])


@shipped
@pytest.mark.parametrize("signs", [(1, -1), (-1, 1), (1, 1)], ids=str)
def test_logits_of_ten_thousand_keep_full_precision_and_finite_gradients(divergence, signs):
    student, teacher = (np.full((1, 1, 1), sign, float) for sign in signs)
    arrays = student, EXTREMES, teacher, np.roll(EXTREMES, 1, axis=1)
    expected = definition(*arrays, divergence=divergence)
    np.testing.assert_allclose(values_of(*float32(arrays), divergence=divergence), expected, rtol=1e-6)

    def slope(column):
        moved = [np.array(x) for x in arrays]
        upper, lower = (np.array(EXTREMES) for _ in range(2))
        upper[0, column] += 1e-4
        lower[0, column] -= 1e-4
        ends = (definition(moved[0], matrix, *moved[2:], divergence=divergence)[0, 0] for matrix in (upper, lower))
        return (next(ends) - next(ends)) / 2e-4

    of_hidden, of_matrix, *_ = gradients(float32(arrays), np.ones((1, 1)), divergence=divergence)
    expected = np.array([slope(column) for column in range(5)])
    np.testing.assert_allclose(of_matrix[0], expected, rtol=1e-3, atol=1e-3 * max(1, np.abs(expected).max()))
    assert np.isfinite(of_hidden).all()


@shipped
def test_bfloat16_inputs_lose_nothing_in_the_forward_pass(divergence):
    *arrays, _ = problem(2, 33, 64, 48, 500)
    narrow = [jnp.asarray(x / 4, jnp.bfloat16) for x in arrays]
    values = values_of(*narrow, divergence=divergence)
    assert values.dtype == jnp.float32
    expected = definition(*(np.asarray(x, np.float64) for x in narrow), divergence=divergence)
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-6)


@shipped
def test_bfloat16_gradients_are_within_its_rounding_and_have_its_type(divergence):
    *arrays, upstream = problem(2, 33, 64, 48, 100)
    narrow = tuple(jnp.asarray(x / 4, jnp.bfloat16) for x in arrays)
    computed = gradients(narrow, upstream, divergence=divergence)
    exact = gradients(float32(narrow), upstream, divergence=divergence)
    for one, other in zip(computed[:2], exact[:2], strict=True):
        assert one.dtype == jnp.bfloat16
        error = np.linalg.norm(np.asarray(one, np.float64) - np.asarray(other, np.float64))
        assert error < 2**-8 * np.linalg.norm(np.asarray(other, np.float64))


def test_every_product_of_bfloat16_matrices_is_accumulated_in_float32():
    """Seen in the program, since the CPU keeps more precision than it is asked for."""
    *arrays, upstream = problem(2, 9, 5, 4, 7)
    program = gradients.lower(
        tuple(jnp.asarray(x, jnp.bfloat16) for x in arrays), upstream, divergence=reverse
    ).as_text()
    products = [line for line in program.splitlines() if "dot_general" in line]
    assert len(products) == 6, "logits of both twice, and one for each gradient"
    assert all("xbf16>, tensor" in line and line.endswith("xf32>") for line in products)


@shipped
def test_zero_upstream_gradients_give_exactly_zero_gradients(divergence):
    *arrays, upstream = problem(2, 9, 5, 4, 7)
    for gradient in gradients(float32(arrays), 0 * upstream, divergence=divergence):
        np.testing.assert_array_equal(gradient, 0)


@shipped
def test_huge_upstream_gradients_scale_and_do_not_spill_over_to_silent_tokens(divergence):
    *arrays, upstream = problem(2, 9, 5, 4, 7)
    loud = np.zeros((2, 9), bool)
    loud[0, 2] = loud[1, 8] = True
    arrays, upstream = float32(arrays), np.where(loud, upstream, 0).astype(np.float32)
    of_hidden, of_matrix, *_ = gradients(arrays, upstream * np.float32(2.0**100), divergence=divergence)
    np.testing.assert_array_equal((np.asarray(of_hidden) != 0).any(-1), loud)
    for one, other in zip((of_hidden, of_matrix), gradients(arrays, upstream, divergence=divergence), strict=False):
        np.testing.assert_allclose(one, np.asarray(other) * np.float32(2.0**100), rtol=1e-6)


def test_tiny_upstream_gradients_are_not_filtered_out_beside_huge_ones():
    *arrays, _ = problem(1, 9, 5, 4, 7)
    upstream = np.zeros((1, 9), np.float32)
    upstream[0, 0], upstream[0, 1] = 1e-20, 1e20
    alone = np.where(np.arange(9) == 0, upstream, 0)
    both, one = (gradients(float32(arrays), weights, divergence=JSD())[0] for weights in (upstream, alone))
    assert np.abs(both[0, 0]).max() > 0
    np.testing.assert_array_equal(both[0, 0], one[0, 0])


@pytest.mark.parametrize(("beta", "other"), [(1e-4, forward), (1 - 1e-4, reverse)])
def test_the_mixture_at_either_end_tends_to_a_kl(beta, other):
    """GKD, arXiv 2306.13649, section 2: JSD(beta) / beta tends to KL(teacher || student)."""
    *arrays, _ = problem(2, 9, 4, 3, 11)
    narrow = [jnp.asarray(x / 3, jnp.float32) for x in arrays]
    mixed = values_of(*narrow, divergence=JSD(beta)) / min(beta, 1 - beta)
    np.testing.assert_allclose(mixed, values_of(*narrow, divergence=other), rtol=1e-2, atol=1e-3)


@shipped
@pytest.mark.parametrize("rows", [1, 4])
def test_no_array_pairs_the_vocabulary_with_more_than_a_quarter_of_the_tokens(rows, divergence):
    vocabulary, length = 1009, 480
    *arrays, upstream = problem(rows, length, 24, 20, vocabulary)
    tokens = rows * length
    traced = gradients.trace(float32(arrays), upstream, divergence=divergence)
    assert arrays_pairing(traced.jaxpr, vocabulary, tokens) == []
    assert arrays_pairing(traced.lower().compile().as_text(), vocabulary, tokens) == []
    assert arrays_pairing(traced.jaxpr, vocabulary, tokens, share=1 / 11) != []


@pytest.mark.slow
def test_each_ones_logits_stay_within_the_memory_of_a_chunk():
    *arrays, upstream = problem(4, 480, 24, 20, 1009)
    limit = 2**20
    traced = gradients.trace(float32(arrays), upstream, divergence=forward, kernels=chunked(limit))
    share = limit / (4 * 1009) / (4 * 480)
    assert arrays_pairing(traced.jaxpr, 1009, 4 * 480, share=share) == []
    assert arrays_pairing(traced.jaxpr, 1009, 4 * 480, share=share / 2) != []


def of_other_sizes():
    """A student with 11 columns and a teacher with 14, of which 9 are shared."""
    hidden, matrix, teacher_hidden, _, upstream = problem(2, 9, 5, 4, 11)
    return hidden, matrix, teacher_hidden, np.random.default_rng(1).normal(size=(4, 14)), upstream


@every_divergence
def test_of_vocabularies_of_other_sizes_the_shared_columns_are_compared(divergence):
    hidden, matrix, teacher_hidden, teacher_matrix, upstream = of_other_sizes()
    shared = hidden, matrix[:, :9], teacher_hidden, teacher_matrix[:, :9]
    expected = definition(*shared, divergence, 1.3)
    arrays = float32((hidden, matrix, teacher_hidden, teacher_matrix))
    options = {"divergence": divergence, "temperature": 1.3, "vocabulary": 9}
    np.testing.assert_allclose(values_of(*arrays, **options), expected, rtol=2e-5, atol=2e-6)

    def moved(direction, size):
        return (definition(hidden, matrix[:, :9] + size * direction, *shared[2:], divergence, 1.3) * upstream).sum()

    direction, size = np.random.default_rng(2).normal(size=(5, 9)), 1e-5
    of_matrix = np.asarray(gradients(arrays, jnp.float32(upstream), **options)[1])
    slope = (moved(direction, size) - moved(direction, -size)) / (2 * size)
    np.testing.assert_allclose((of_matrix[:, :9] * direction).sum(), slope, rtol=1e-4)
    np.testing.assert_array_equal(of_matrix[:, 9:], 0)


BAD = {
    r"the student's hidden states \(2, 9, 5\) and unembedding \(4, 7\)": {1: np.zeros((4, 7))},
    r"the teacher's hidden states \(2, 9, 4\) and unembedding \(3, 7\)": {3: np.zeros((3, 7))},
    r"hidden states \(2, 9, 5\) and the teacher's \(2, 8, 4\) are of other tokens": {2: np.zeros((2, 8, 4))},
    "the student's vocabulary is 7 and the teacher's 8; .* say how many first ones they share": {3: np.zeros((4, 8))},
    "8 shared tokens are more or less than there are: the student's vocabulary is 7": {"vocabulary": 8},
    "0 shared tokens are more or less": {"vocabulary": 0},
    "the divergence is 'alpha', which is no function": {"divergence": "alpha"},
    "has no hash, so its program can't be remembered": {"divergence": divergences.Unhashable()},
    r"gave \(7,\) for log-probabilities \(3, 7\)": {"divergence": lambda log_p, log_q: log_q[0]},
    "temperature is 0.0": {"temperature": 0.0},
}


@pytest.mark.parametrize(("message", "change"), BAD.items(), ids=BAD)
def test_inputs_that_do_not_fit_are_refused_with_their_shapes(message, change):
    arrays = list(float32(problem(2, 9, 5, 4, 7)[:4]))
    options = {"divergence": forward}
    for key, value in change.items():
        if isinstance(key, int):
            arrays[key] = jnp.asarray(value, jnp.float32)
        else:
            options[key] = value
    with pytest.raises(InputError, match=message):
        token_divergence(*arrays, **options)
