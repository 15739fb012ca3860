"""Log-probability, entropy and log-sum-exp of every token from hidden states and the unembedding, without logits.

Losses of reinforcement learning, distillation and fine-tuning all start here. An array of [tokens, vocabulary] is never
made, forward or backward, on one device or many.

Legend: B rows, T time, D model width, V vocabulary.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from reasoning.core.errors import InputError
from reasoning.kernels import pallas_tpu, pallas_tpu_backward
from reasoning.kernels import vocabulary_sharding as sharded
from reasoning.kernels.chunked import (
    LOGITS_BYTES,
    Head,
    Slopes,
    Softmax,
    Sums,
    check_soft_cap,
    check_temperature,
    gradients,
    inverse_of,
    statistics,
)
from reasoning.kernels.pallas_tpu import TPU
from reasoning.kernels.vocabulary_sharding import VocabularySharding


class TokenLogProbs(NamedTuple):
    """What a distribution over the vocabulary says of each token, float32 [B, T], in nats."""

    log_prob_BT: Array
    entropy_BT: Array
    logsumexp_BT: Array


class _Plan(NamedTuple):
    """The settings of one call that are no arrays: ``vocabulary`` and ``width`` are those before any padding."""

    head: Head
    vocabulary: int
    width: int
    sharding: VocabularySharding | None
    tpu: TPU | None


def token_log_probs(
    hidden_BTD: Float[Array, "B T D"],
    unembed_DV: Float[Array, "D V"],
    targets_BT: Int[Array, "B T"],
    *,
    temperature: float | Float[Array, "..."] = 1.0,
    soft_cap: float | None = None,
    bias_V: Float[Array, " V"] | None = None,
    sharding: VocabularySharding | None = None,
    logits_bytes: int = LOGITS_BYTES,
    tpu: TPU | None = None,
) -> TokenLogProbs:
    """log p(target), entropy and log-sum-exp of ``softmax(soft_cap * tanh((h W + b) / soft_cap) / temperature)``.

    Hidden states, matrix and bias are float32 or bfloat16 (a tied head passes its embedding transposed); products are
    made in the wider type of the first two, sums and results are float32 (float64 for float64 inputs). All three
    results have gradients with respect to hidden states, matrix and bias, each in its input's type; the matrix's is
    summed in float32. ``temperature`` is positive, a number or an array that broadcasts to [B, T]; it is a constant to
    gradients. Reverse mode only.

    A negative target is ignored: its log-probability is 0 and passes no gradient (entropy and log-sum-exp are as ever).
    A target of V or more gives NaN, in the log-probability and in the gradients that it reaches.

    Tokens are worked on in at least 8 chunks of the time axis, each with at most ``logits_bytes`` of logits a device;
    rows are split only where one time step alone exceeds that, or where T is below 8. With ``sharding``, both passes
    run under ``jax.shard_map``; arrays are the global ones, B and T must divide over their mesh axes, V and D need not.
    With ``tpu`` Pallas kernels for that chip do both passes in its VMEM, and ``logits_bytes`` is of no interest.
    Raises InputError for shapes that don't fit, and for a temperature or cap that isn't positive.
    """
    _check(hidden_BTD, unembed_DV, targets_BT, temperature, soft_cap, bias_V, sharding)
    width, vocabulary = unembed_DV.shape
    dtype = jnp.promote_types(jnp.result_type(hidden_BTD, unembed_DV), jnp.float32)
    inverse_temperature_BT = inverse_of(temperature, targets_BT.shape, dtype)
    unembed_DV = sharded.pad_unembed(unembed_DV, sharding)
    if bias_V is not None and sharding is not None:
        bias_V = sharded.pad_to(bias_V, 0, sharding.size(sharding.vocabulary_axis))
    plan = _Plan(Head(soft_cap, logits_bytes), vocabulary, width, sharding, tpu)
    return _token_log_probs(plan, hidden_BTD, unembed_DV, bias_V, targets_BT, inverse_temperature_BT)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _token_log_probs(plan: _Plan, hidden: Array, unembed: Array, bias: Array | None, targets: Array, inverse: Array):
    return _forward(plan, hidden, unembed, bias, targets, inverse)[0]


def _forward(plan: _Plan, *arrays: Array | None) -> tuple[TokenLogProbs, tuple]:
    outputs, softmax = _on_each_device(_local_forward, plan, kept=0, results=None)(*arrays)
    return outputs, (*arrays, softmax)


def _backward(plan: _Plan, residuals: tuple, upstream: TokenLogProbs) -> tuple:
    of_parameters = _on_each_device(_local_backward, plan, kept=2, results=3)(*residuals, upstream)
    return (*of_parameters, None, jnp.zeros_like(residuals[4]))


_token_log_probs.defvjp(_forward, _backward)


def _on_each_device(function: Callable, plan: _Plan, *, kept: int, results: int | None) -> Callable:
    """``function`` of the five operands and ``kept`` records of [B, T] arrays, under shard_map if there is a mesh.

    It returns gradients of the first ``results`` operands, or [B, T] arrays if that is None.
    """
    local = functools.partial(function, plan)
    if plan.sharding is None:
        return local
    tokens = plan.sharding.token_spec
    operands = (tokens, plan.sharding.unembed_spec, plan.sharding.bias_spec, tokens, tokens)
    out_specs = tokens if results is None else operands[:results]
    in_specs = (*operands, *[tokens] * kept)
    checked = plan.tpu is None  # kernels don't say over which axes their results differ
    return jax.shard_map(local, mesh=plan.sharding.mesh, in_specs=in_specs, out_specs=out_specs, check_vma=checked)


def _local_operands(plan: _Plan, hidden: Array, unembed: Array, bias: Array | None, targets: Array, inverse: Array):
    """This device's operands, and its targets counted from its first column."""
    operands = sharded.local_operands(hidden, unembed, bias, inverse, (plan.width, plan.vocabulary), plan.sharding)
    return operands, targets.astype(jnp.int32) - sharded.first_column(unembed.shape[1], plan.sharding)


def _local_forward(plan: _Plan, *arrays) -> tuple[TokenLogProbs, Softmax]:
    targets = arrays[3]
    operands, local_targets = _local_operands(plan, *arrays)
    if plan.tpu is None:
        own = statistics(operands, local_targets, plan.head)
    else:
        own = pallas_tpu.statistics(operands, local_targets, plan.head, plan.tpu)
    whole = sharded.merge(own, plan.sharding)
    log_total = jnp.log(whole.total)
    entropy = log_total - whole.moment / whole.total
    log_prob = _at_targets((whole.target - whole.shift) - log_total, targets, plan.vocabulary)
    return TokenLogProbs(log_prob, entropy, whole.shift + log_total), Softmax(whole.shift, log_total, entropy)


def _local_backward(plan: _Plan, hidden, unembed, bias, targets, inverse, softmax: Softmax, upstream: TokenLogProbs):
    """Gradients of logit z, per token: of log p(target), [z is the target] - p; of the entropy, -p (log p + entropy);
    of the log-sum-exp, p."""
    operands, local_targets = _local_operands(plan, hidden, unembed, bias, targets, inverse)
    pick = _at_targets(upstream.log_prob_BT, targets, plan.vocabulary)
    slopes = Slopes(level=upstream.logsumexp_BT - pick, bend=upstream.entropy_BT, pick=pick)
    dtype, sharding = operands.accumulator, plan.sharding
    hidden_type = hidden.dtype if sharded.has_whole_vocabulary(sharding) else dtype
    if plan.tpu is None:
        start_DV = sharded.zeros(operands.unembed_DV.shape, dtype, sharding)
        start = Sums(start_DV, None if bias is None else sharded.zeros(bias.shape, dtype, sharding))
        of_hidden, sums = gradients(operands, local_targets, softmax, slopes, start, hidden_type, plan.head)
    else:
        unembed_type = unembed.dtype if sharded.has_all_tokens(sharding) else dtype
        of_hidden, sums = pallas_tpu_backward.gradients(
            operands, local_targets, softmax, slopes, unembed_type, hidden_type, plan.head, plan.tpu
        )
    of_hidden = sharded.sum_over_columns(of_hidden, sharding).astype(hidden.dtype)
    of_unembed = sharded.sum_over_tokens(sums.unembed_DV, sharding, scatter=True).astype(unembed.dtype)
    if bias is None or sums.bias_V is None:
        return of_hidden, of_unembed, None
    return of_hidden, of_unembed, sharded.sum_over_tokens(sums.bias_V, sharding, scatter=False).astype(bias.dtype)


def _at_targets(values: Array, targets: Array, vocabulary: int) -> Array:
    """0 where the target is ignored, NaN where it isn't in the vocabulary."""
    return jnp.where(targets < 0, 0, jnp.where(targets >= vocabulary, jnp.nan, values))


def _check(hidden, unembed, targets, temperature, soft_cap, bias, sharding: VocabularySharding | None) -> None:
    if hidden.ndim != 3 or unembed.shape[:1] != hidden.shape[2:] or unembed.ndim != 2:
        raise InputError(f"hidden states {hidden.shape} and unembedding {unembed.shape} must be [B, T, D] and [D, V]")
    if targets.shape != hidden.shape[:2] or 0 in targets.shape:
        raise InputError(f"targets {targets.shape} must be [B, T] of the hidden states {hidden.shape}, and not empty")
    if bias is not None and bias.shape != unembed.shape[1:]:
        raise InputError(f"bias {bias.shape} must be [V] of the unembedding {unembed.shape}")
    check_temperature(temperature)
    check_soft_cap(soft_cap)
    sharded.check_tokens(targets.shape, sharding)
