"""A head sharded over eight devices computes what one device computes, and no more than its share.

Legend: B rows, T time, D model width, V vocabulary.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from divergences import OWN, SHIPPED
from jax.sharding import AxisType, Mesh, NamedSharding

from reasoning.core.errors import InputError
from reasoning.kernels.token_divergence import token_divergence
from reasoning.kernels.token_log_probs import summed_losses, token_log_probs
from reasoning.kernels.vocabulary_sharding import VocabularySharding
from reasoning.objectives.divergence import JSD, forward, reverse
from reasoning.planning.shapes import arrays_pairing

AXES = ("data", "fsdp", "context", "tensor", "expert")
MESHES = [
    {"data": 8},
    {"fsdp": 8},
    {"fsdp": 4, "tensor": 2},
    {"fsdp": 2, "tensor": 2, "context": 2},
    {"data": 2, "tensor": 2, "expert": 2},
    {"tensor": 8},
    {},
]
EVERY_MESH = [MESHES[2], *(pytest.param(sizes, marks=pytest.mark.slow) for sizes in (*MESHES[:2], *MESHES[3:]))]
B, T, D, V = 8, 18, 11, 37


def mesh_of(sizes: dict[str, int]) -> Mesh:
    shape = tuple(sizes.get(axis, 1) for axis in AXES)
    return Mesh(np.array(jax.devices()[: np.prod(shape)]).reshape(shape), AXES, axis_types=(AxisType.Auto,) * 5)


def problem(width=D, vocabulary=V, length=T, bias_mean=0.0):
    random = np.random.default_rng(1)
    hidden, matrix = random.normal(size=(B, length, width)), random.normal(size=(width, vocabulary))
    bias, upstream = random.normal(size=vocabulary) + bias_mean, random.normal(size=(3, B, length))
    targets = jnp.asarray(random.integers(-3, vocabulary, size=(B, length)))
    return *(jnp.asarray(x, jnp.float32) for x in (hidden, matrix, bias)), targets, upstream


@functools.partial(jax.jit, static_argnames="sharding")
def results_and_gradients(hidden, matrix, bias, targets, upstream, sharding):
    def loss(hidden, matrix, bias):
        results = token_log_probs(
            hidden, matrix, targets, temperature=0.8, soft_cap=80.0, bias_V=bias, sharding=sharding
        )
        return sum(jnp.sum(weight * result) for weight, result in zip(upstream, results, strict=True)), results

    gradients, results = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(hidden, matrix, bias)
    return results, gradients


def assert_sharded_equals_unsharded(sharding, biased=True, **sizes):
    hidden, matrix, bias, *rest = problem(**sizes)
    arrays = hidden, matrix, bias if biased else None, *rest
    expected = results_and_gradients(*arrays, sharding=None)
    results = results_and_gradients(*arrays, sharding=sharding)
    for one, other in zip(jax.tree.leaves(results), jax.tree.leaves(expected), strict=True):
        # Where a target has nearly all probability, what is left of its gradient is a difference of ones.
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * max(1.0, float(jnp.abs(other).max())))
    return results[0]


@pytest.mark.parametrize("sizes", EVERY_MESH, ids=str)
def test_sharded_equals_unsharded_where_neither_vocabulary_nor_width_divides(sizes):
    assert_sharded_equals_unsharded(VocabularySharding(mesh_of(sizes)))


@pytest.fixture
def strips_of_anything(monkeypatch):
    """Gathered matrices go strip by strip, however small they are."""
    monkeypatch.setattr("reasoning.kernels.vocabulary_sharding._WHOLE", 0)


@pytest.mark.parametrize("biased", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("strips_of_anything")
def test_strips_of_a_gathered_matrix_that_do_not_divide_either_give_what_one_device_gives(biased):
    sharding = VocabularySharding(mesh_of({"fsdp": 4, "tensor": 2}))
    assert_sharded_equals_unsharded(sharding, biased=biased, vocabulary=301)


@pytest.mark.usefixtures("strips_of_anything")
def test_strips_are_gathered_and_scattered_within_their_loop():
    text = compiled_text({"fsdp": 4, "tensor": 2}, 24, 2018, 64)
    assert set(re.findall(r"f32\[24,(\d+)\]\S* all-gather\(", text)) == {"1009", "128"}, "whole, then strips"
    assert re.findall(r"f32\[\d+,(\d+)\]\S* reduce-scatter\(", text) == ["128"]


@functools.partial(jax.jit, static_argnames="sharding")
def summed_and_gradients(hidden, matrix, bias, targets, weights, sharding):
    def loss(log_probs, weights):
        return weights * jnp.exp(log_probs / 8)

    def total(hidden, matrix, bias):
        options = {"temperature": 0.8, "soft_cap": 80.0, "bias_V": bias, "sharding": sharding}
        return summed_losses(hidden, matrix, targets, loss, weights, **options)

    return jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True)(hidden, matrix, bias)


@pytest.mark.parametrize("sizes", EVERY_MESH, ids=str)
def test_one_pass_of_a_sharded_head_gives_what_one_device_gives(sizes):
    *arrays, upstream = problem()
    results, expected = (
        summed_and_gradients(*arrays, upstream[0], sharding) for sharding in (VocabularySharding(mesh_of(sizes)), None)
    )
    for one, other in zip(jax.tree.leaves(results), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * max(1.0, float(jnp.abs(other).max())))


@pytest.mark.slow
def test_a_head_without_bias_is_sharded_too():
    sharding = VocabularySharding(mesh_of({"fsdp": 2, "tensor": 2, "context": 2}))
    assert_sharded_equals_unsharded(sharding, biased=False)


@pytest.mark.parametrize("bias_mean", [-20.0, -500.0])
@pytest.mark.parametrize("sizes", [{"tensor": 2}, {"tensor": 8}], ids=str)
def test_padded_columns_do_not_leak_into_very_negative_logits(sizes, bias_mean):
    """A padded column with logit 0 would take all of the probability, or overflow in the backward pass."""
    results = assert_sharded_equals_unsharded(VocabularySharding(mesh_of(sizes)), vocabulary=9, bias_mean=bias_mean)
    assert np.all(np.asarray(results.logsumexp_BT) < -4)


def test_a_wrong_target_is_nan_on_a_sharded_vocabulary_too():
    hidden, matrix, bias, targets, upstream = problem()
    sharding = VocabularySharding(mesh_of({"tensor": 8}))
    (log_prob, _, _), _ = results_and_gradients(
        hidden, matrix, bias, targets.at[0, 0].set(V), upstream, sharding=sharding
    )
    np.testing.assert_array_equal(np.argwhere(np.isnan(log_prob)), [[0, 0]])


def test_gradients_keep_the_inputs_shardings_and_types():
    mesh = mesh_of({"fsdp": 2, "context": 2, "tensor": 2})
    sharding = VocabularySharding(mesh)
    hidden, matrix, bias, targets, upstream = problem(width=12, vocabulary=38)
    specs = sharding.token_spec, sharding.unembed_spec, sharding.bias_spec
    arrays = [
        jax.device_put(x.astype(jnp.bfloat16), NamedSharding(mesh, spec))
        for x, spec in zip((hidden, matrix, bias), specs, strict=True)
    ]
    _, gradients = results_and_gradients(*arrays, targets, upstream, sharding=sharding)
    for gradient, array in zip(gradients, arrays, strict=True):
        assert gradient.dtype == jnp.bfloat16
        assert gradient.sharding.is_equivalent_to(array.sharding, array.ndim)


def teacher_problem(width=13, vocabulary=V, length=T):
    """A teacher of another width, which doesn't divide either."""
    random = np.random.default_rng(2)
    hidden, matrix = random.normal(size=(B, length, width)), random.normal(size=(width, vocabulary))
    return jnp.asarray(hidden / 2, jnp.float32), jnp.asarray(matrix, jnp.float32)


@functools.partial(jax.jit, static_argnames=("sharding", "divergence", "vocabulary"))
def divergence_and_gradients(
    hidden, matrix, teacher_hidden, teacher_matrix, upstream, sharding, divergence, vocabulary=None
):
    options = {"divergence": divergence, "temperature": 0.8, "vocabulary": vocabulary, "sharding": sharding}

    def loss(hidden, matrix):
        values = token_divergence(hidden, matrix, teacher_hidden, teacher_matrix, **options)
        return jnp.sum(upstream[0] * values), values

    gradients, values = jax.grad(loss, argnums=(0, 1), has_aux=True)(hidden, matrix)
    return values, gradients


def check_divergence(sizes, divergence, vocabulary=V):
    hidden, matrix, _, _, upstream = problem(vocabulary=vocabulary)
    arrays = hidden / 2, matrix, *teacher_problem(vocabulary=vocabulary), upstream
    expected = divergence_and_gradients(*arrays, sharding=None, divergence=divergence)
    found = divergence_and_gradients(*arrays, sharding=VocabularySharding(mesh_of(sizes)), divergence=divergence)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sizes", EVERY_MESH, ids=str)
def test_a_sharded_divergence_equals_the_unsharded_one(sizes):
    check_divergence(sizes, forward)


@pytest.mark.slow
@pytest.mark.usefixtures("strips_of_anything")
def test_strips_of_both_models_give_the_divergence_of_one_device():
    check_divergence({"fsdp": 4, "tensor": 2}, forward, vocabulary=301)


@pytest.mark.parametrize(
    ("sizes", "shared"),
    [({"data": 2, "fsdp": 2, "tensor": 2}, 33), pytest.param({"tensor": 8}, 9, marks=pytest.mark.slow)],
    ids=str,
)
def test_shared_columns_of_vocabularies_of_other_sizes_are_compared_on_a_mesh_too(sizes, shared):
    hidden, matrix, _, _, upstream = problem(width=12, vocabulary=40)
    arrays = hidden / 2, matrix, *teacher_problem(width=16, vocabulary=48), upstream
    expected = divergence_and_gradients(
        hidden / 2, matrix[:, :shared], arrays[2], arrays[3][:, :shared], upstream, sharding=None, divergence=forward
    )
    sharding = VocabularySharding(mesh_of(sizes))
    lying = [jax.device_put(array, NamedSharding(sharding.mesh, sharding.unembed_spec)) for array in arrays[1:4:2]]
    found = divergence_and_gradients(
        arrays[0], lying[0], arrays[2], lying[1], upstream, sharding=sharding, divergence=forward, vocabulary=shared
    )
    values, (of_hidden, of_matrix) = found
    for one, other in zip((values, of_hidden, of_matrix[:, :shared]), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(of_matrix[:, shared:], 0)


@pytest.mark.slow
@pytest.mark.parametrize("divergence", [reverse, JSD(0.3), *OWN.values()], ids=["reverse", "jsd", *OWN])
def test_any_other_sharded_divergence_equals_the_unsharded_one_too(divergence):
    check_divergence({"fsdp": 4, "tensor": 2}, divergence)


@pytest.mark.slow
@pytest.mark.parametrize("divergence", [*SHIPPED.values(), *OWN.values()], ids=[*SHIPPED, *OWN])
def test_padded_columns_do_not_leak_into_a_divergence_of_very_negative_logits(divergence):
    hidden, matrix, _, _, upstream = problem(vocabulary=9)
    low = jnp.concatenate([hidden, jnp.full((B, T, 1), 20.0)], axis=-1), jnp.concatenate([matrix, jnp.full((1, 9), -9)])
    arrays = *low, *teacher_problem(vocabulary=9), upstream
    expected = divergence_and_gradients(*arrays, sharding=None, divergence=divergence)
    found = divergence_and_gradients(
        *arrays, sharding=VocabularySharding(mesh_of({"tensor": 8})), divergence=divergence
    )
    assert np.asarray(expected[0]).max() > 0.5
    # Logits near -180 carry rounding of 1e-5 each into gradients that cancel; a leak of a padded 0 would be of order 1.
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-3)


def divergence_text(sizes, width, vocabulary, length) -> str:
    sharding = VocabularySharding(mesh_of(sizes))
    hidden, matrix, _, _, upstream = problem(width, vocabulary, length)
    arrays = hidden, matrix, *teacher_problem(width + 8, vocabulary, length)
    specs = sharding.token_spec, sharding.unembed_spec, sharding.token_spec, sharding.unembed_spec
    described = [
        jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(sharding.mesh, spec))
        for x, spec in zip(arrays, specs, strict=True)
    ]
    lowered = divergence_and_gradients.lower(*described, upstream, sharding=sharding, divergence=reverse)
    return str(lowered.compile().as_text())


def compiled_text(sizes, width, vocabulary, length) -> str:
    sharding = VocabularySharding(mesh_of(sizes))
    *arrays, targets, upstream = problem(width, vocabulary, length)
    specs = sharding.token_spec, sharding.unembed_spec, sharding.bias_spec
    described = [
        jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(sharding.mesh, spec))
        for x, spec in zip(arrays, specs, strict=True)
    ]
    return str(results_and_gradients.lower(*described, targets, upstream, sharding=sharding).compile().as_text())


@pytest.mark.parametrize("program", [compiled_text, divergence_text])
@pytest.mark.parametrize("sizes", [{"fsdp": 8}, {"fsdp": 2, "tensor": 2, "context": 2}], ids=str)
def test_no_device_pairs_its_vocabulary_with_more_than_a_quarter_of_its_tokens(sizes, program):
    width, vocabulary, length = 24, 2018, 256
    text = program(sizes, width, vocabulary, length)
    local = vocabulary // sizes.get("tensor", 1)
    tokens = B * length // (sizes["fsdp"] * sizes.get("context", 1))
    assert arrays_pairing(text, local, tokens, weights=[(width, local), (width + 8, local)]) == []
    assert arrays_pairing(text, local, tokens, share=1 / 10) != []


@pytest.mark.parametrize(("program", "matrices"), [(compiled_text, 1), (divergence_text, 2)])
def test_collectives_run_before_and_after_the_loop_over_chunks_and_never_inside(program, matrices):
    text = program({"fsdp": 2, "tensor": 2, "context": 2}, 24, 2018, 64)
    collective = re.compile(r" (all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute)(-start)?\(")
    bodies = set(re.findall(r"body=%?([\w.\-]+)", text))
    assert bodies
    inside = False
    outside = []
    for line in text.splitlines():
        if header := re.match(r"(?:ENTRY )?%?([\w.\-]+) \(", line):
            inside = header[1] in bodies
        if found := collective.search(line):
            assert not inside, line
            outside.append(found[1])
    assert outside.count("all-gather") <= 2 * matrices, "each matrix, at most once forward and once backward"
    assert outside.count("reduce-scatter") == 1, "the matrix's gradient"


def test_bad_axes_are_refused_by_name():
    mesh = mesh_of({})
    with pytest.raises(InputError, match="no axis 'model'"):
        VocabularySharding(mesh, vocabulary_axis="model")
    with pytest.raises(InputError, match="shards two things"):
        VocabularySharding(mesh, vocabulary_axis="context")
    with pytest.raises(InputError, match="must be one of the token axes"):
        VocabularySharding(mesh, embed_axis="tensor")


@pytest.mark.parametrize(("sizes", "message"), [({"data": 8}, "6 rows"), ({"context": 8}, "18 time steps")])
def test_tokens_that_do_not_divide_over_the_mesh_are_refused(sizes, message):
    hidden, matrix, _, targets, _ = problem()
    rows = 6 if "data" in sizes else 8
    with pytest.raises(InputError, match=message):
        token_log_probs(hidden[:rows], matrix, targets[:rows], sharding=VocabularySharding(mesh_of(sizes)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "axes", [{"embed_axis": None}, {"vocabulary_axis": None}, {"token_axes": ("fsdp", None)}], ids=str
)
def test_axes_may_be_left_whole(axes):
    assert_sharded_equals_unsharded(VocabularySharding(mesh_of({"fsdp": 2, "tensor": 2, "data": 2}), **axes))
