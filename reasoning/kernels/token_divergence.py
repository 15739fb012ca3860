"""The divergence of a student's distribution from a teacher's at every token, from hidden states and unembeddings.

Distillation starts here. As in ``token_log_probs``, an array of [tokens, vocabulary] is never made, forward or
backward, on one device or many.

Legend: B rows, T time, D the student's width, E the teacher's, V the student's vocabulary, W the teacher's.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from reasoning.core.errors import InputError
from reasoning.kernels import vocabulary_sharding as sharded
from reasoning.kernels.backends import Kernels, kernels_for
from reasoning.kernels.divergence import Divergence, check_divergence
from reasoning.kernels.operands import (
    GradientTypes,
    Normaliser,
    Normalisers,
    Operands,
    ParameterGradients,
    StudentTeacher,
    check_soft_cap,
    check_temperature,
    inverse_of,
)
from reasoning.kernels.vocabulary_sharding import VocabularySharding


class _Plan(NamedTuple):
    """The settings of one call that are no arrays; vocabulary and widths are those before any padding."""

    soft_caps: tuple[float | None, float | None]
    divergence: Divergence
    vocabulary: int
    widths: tuple[int, int]
    sharding: VocabularySharding | None
    kernels: Kernels


def token_divergence(
    student_hidden_BTD: Float[Array, "B T D"],
    student_unembed_DV: Float[Array, "D V"],
    teacher_hidden_BTE: Float[Array, "B T E"],
    teacher_unembed_EW: Float[Array, "E W"],
    *,
    divergence: Divergence,
    temperature: float | Float[Array, "..."] = 1.0,
    soft_caps: tuple[float | None, float | None] = (None, None),
    vocabulary: int | None = None,
    sharding: VocabularySharding | None = None,
    kernels: Kernels | None = None,
) -> Float[Array, "B T"]:
    """How far q = softmax(student's logits / temperature) is from the teacher's p, per token, float32, in nats.

    ``divergence`` gives it column by column from log p and log q: ``objectives.divergence`` has both KL divergences and
    the generalised Jensen-Shannon; ``kernels.divergence.Divergence`` says what one of your own must keep.

    Gradients reach the student only, its hidden states and its matrix, each in its input's type; the matrix's is summed
    in float32. Teacher and student may differ in width and in their ``soft_caps`` (the student's, the teacher's; see
    ``token_log_probs``). Where they differ in vocabulary, ``vocabulary`` says how many first columns they share: p and
    q are softmaxes over these alone, and the others get no gradient. Types, ``temperature`` and ``kernels`` are as in
    ``token_log_probs``.
    With the shipped ones equal logits give exactly 0 and no gradient. Where a mesh cuts the vocabulary, and in Pallas
    kernels, the forward pass makes the logits twice: first to normalise them.
    Raises InputError for shapes that don't fit, a temperature that isn't positive, and a divergence that is no function
    or has no hash.
    """
    _check(student_hidden_BTD, student_unembed_DV, teacher_hidden_BTE, teacher_unembed_EW, vocabulary)
    check_divergence(divergence)
    check_temperature(temperature)
    for cap in soft_caps:
        check_soft_cap(cap)
    tokens = student_hidden_BTD.shape[:2]
    sharded.check_tokens(tokens, sharding)
    dtype = jnp.promote_types(jnp.result_type(student_hidden_BTD, student_unembed_DV), jnp.float32)
    width, columns = student_unembed_DV.shape
    shared = columns if vocabulary is None else vocabulary
    kernels = kernels or kernels_for("auto", None if sharding is None else sharding.mesh)
    plan = _Plan(soft_caps, divergence, shared, (width, teacher_unembed_EW.shape[0]), sharding, kernels)
    student_DV, teacher_EV = (
        sharded.pad_unembed(sharded.first_columns(matrix, shared, sharding), sharding)
        for matrix in (student_unembed_DV, teacher_unembed_EW)
    )
    student, teacher = (student_hidden_BTD, student_DV), (teacher_hidden_BTE, teacher_EV)
    return _token_divergence(plan, *student, *teacher, inverse_of(temperature, tokens, dtype))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _token_divergence(plan: _Plan, *arrays: Array) -> Array:
    return _forward(plan, *arrays)[0]


def _forward(plan: _Plan, *arrays: Array) -> tuple[Array, tuple]:
    value_BT, *kept = _on_each_device(_local_forward, plan, kept=0, results="token")(*arrays)
    return value_BT, (*arrays, *kept)


def _backward(plan: _Plan, residuals: tuple, upstream_BT: Array) -> tuple:
    of_student = _on_each_device(_local_backward, plan, kept=3, results=("token", "unembed"))(*residuals, upstream_BT)
    return (*sharded.scattered_first(of_student, plan.sharding), None, None, None)


_token_divergence.defvjp(_forward, _backward)


def _on_each_device(function: Callable, plan: _Plan, *, kept: int, results: Any) -> Callable:
    """``function`` of the five operands and ``kept`` records of [B, T] arrays; see ``sharded.on_each_device``."""
    operands = ("token", "unembed", "token", "unembed", "token")
    local = functools.partial(function, plan)
    return sharded.on_each_device(
        local, plan.sharding, (*operands, *["token"] * kept), results=results, typed=plan.kernels.typed
    )


def _own_models(
    plan: _Plan, hidden: Array, unembed: Array, of_teacher: Array, matrix: Array, inverse: Array
) -> StudentTeacher:
    """Both with the rows of their matrices that this device holds."""
    both = zip((hidden, of_teacher), (unembed, matrix), plan.soft_caps, strict=True)
    return StudentTeacher(
        *(
            sharded.own_operands(states, columns, None, inverse, plan.vocabulary, cap, plan.sharding)
            for states, columns, cap in both
        )
    )


def _whole(plan: _Plan, models: StudentTeacher) -> StudentTeacher:
    """Both with their matrices in full width."""
    parts = zip(models, plan.widths, strict=True)
    return StudentTeacher(*(sharded.gathered(each, width, plan.sharding) for each, width in parts))


def _local_forward(plan: _Plan, *arrays: Array) -> tuple[Array, Array, Normalisers]:
    models, sharding = _whole(plan, _own_models(plan, *arrays)), plan.sharding
    known = None
    if not sharded.has_whole_vocabulary(sharding):
        known = Normalisers(*(_merged(part, sharding) for part in plan.kernels.normalisers(models)))
    sums, own = plan.kernels.divergences(models, known, plan.divergence)
    if known is None:  # equal on all devices of the vocabulary's axis, of which there is one: this tells JAX so
        known = Normalisers(*(_merged(part, sharding) for part in own))
    return sharded.sum_over_columns(sums.value, sharding), sharded.sum_over_columns(sums.gradient, sharding), known


def _merged(own: Normaliser, sharding: VocabularySharding | None) -> Normaliser:
    """The normaliser of the whole vocabulary from those of each device's columns."""
    if sharding is None:
        return own
    shift = sharded.largest_over_columns(own.shift, sharding)
    total = sharded.sum_over_columns(jnp.exp(own.log_total + (own.shift - shift)), sharding)
    return Normaliser(shift, jnp.log(total))


def _local_backward(plan: _Plan, *arrays) -> tuple[Array, Array]:
    *operands, gradient, normalisers, upstream = arrays
    own, sharding = _own_models(plan, *operands), plan.sharding
    hidden, unembed = operands[:2]
    wide = own.student.accumulator

    def gradients(
        models: tuple[Operands, ...], types: GradientTypes, hidden_sum: Array | None
    ) -> tuple[Array, ParameterGradients]:
        known = (normalisers, gradient, upstream, plan.divergence)
        return plan.kernels.divergence_gradients(StudentTeacher(*models), *known, types, hidden_sum)

    def of_strip(part: tuple[Operands, ...], first: Array, hidden_sum: Array) -> tuple[Array, ParameterGradients]:
        return gradients(part, GradientTypes(wide, wide), hidden_sum)

    if sharding is None or not sharded.has_strips(sum(plan.widths), unembed.shape[1], sharding):
        types = sharded.gradient_types(hidden, unembed, wide, sharding)
        of_hidden, summed = gradients(_whole(plan, own), types, None)
        of_unembed = sharded.sum_over_tokens(summed.unembed_DV, sharding, scatter=True).astype(unembed.dtype)
    else:
        of_hidden, scattered = sharded.gradients_by_strips(of_strip, own, plan.widths, sharding, plan.kernels.typed)
        of_unembed = scattered.unembed_DV
    return sharded.sum_over_columns(of_hidden, sharding).astype(hidden.dtype), of_unembed


def _check(
    hidden: Array, unembed: Array, teacher_hidden: Array, teacher_unembed: Array, vocabulary: int | None
) -> None:
    for who, states, matrix in (("student", hidden, unembed), ("teacher", teacher_hidden, teacher_unembed)):
        if states.ndim != 3 or matrix.ndim != 2 or matrix.shape[:1] != states.shape[2:] or 0 in states.shape:
            raise InputError(
                f"the {who}'s hidden states {states.shape} and unembedding {matrix.shape} must be [B, T, D] and "
                "[D, V], and not empty"
            )
    if hidden.shape[:2] != teacher_hidden.shape[:2]:
        raise InputError(f"hidden states {hidden.shape} and the teacher's {teacher_hidden.shape} are of other tokens")
    sizes = unembed.shape[1], teacher_unembed.shape[1]
    if vocabulary is None and sizes[0] != sizes[1]:
        raise InputError(
            f"the student's vocabulary is {sizes[0]} and the teacher's {sizes[1]}; a divergence compares them token by "
            "token, so say how many first ones they share (vocabulary)"
        )
    if vocabulary is not None and not 0 < vocabulary <= min(sizes):
        raise InputError(
            f"{vocabulary} shared tokens are more or less than there are: the student's vocabulary is {sizes[0]} and "
            f"the teacher's {sizes[1]}"
        )
