"""Log-probability, entropy and log-sum-exp of every token from hidden states and the unembedding, without logits.

Losses of reinforcement learning, distillation and fine-tuning all start here. An array of [tokens, vocabulary] is never
made, forward or backward, on one device or many.

Legend: B rows, T time, K candidates of one token, D model width, V vocabulary.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from reasoning.core.errors import InputError
from reasoning.kernels import vocabulary_sharding as sharded
from reasoning.kernels.backends import Kernels, kernels_for
from reasoning.kernels.operands import (
    LogitCoefficients,
    Operands,
    SoftmaxResiduals,
    check_soft_cap,
    check_temperature,
    inverse_of,
)
from reasoning.kernels.vocabulary_sharding import VocabularySharding


class TokenLogProbs(NamedTuple):
    """What a distribution over the vocabulary says of each token, float32 [B, T], in nats.

    Where K candidates of each token were asked for, their log-probabilities are [B, T, K].
    """

    log_prob_BT: Array
    entropy_BT: Array
    logsumexp_BT: Array


class _Plan(NamedTuple):
    """The settings of one call that are no arrays: ``vocabulary`` and ``width`` are those before any padding."""

    soft_cap: float | None
    vocabulary: int
    width: int
    sharding: VocabularySharding | None
    kernels: Kernels


def token_log_probs(
    hidden_BTD: Float[Array, "B T D"],
    unembed_DV: Float[Array, "D V"],
    targets_BT: Int[Array, "B T"] | Int[Array, "B T K"],
    *,
    temperature: float | Float[Array, "..."] = 1.0,
    soft_cap: float | None = None,
    bias_V: Float[Array, " V"] | None = None,
    sharding: VocabularySharding | None = None,
    kernels: Kernels | None = None,
) -> TokenLogProbs:
    """log p(target), entropy and log-sum-exp of ``softmax(soft_cap * tanh((h W + b) / soft_cap) / temperature)``.

    Hidden states, matrix and bias are float32 or bfloat16 (a tied head passes its embedding transposed); products are
    made in the wider type of the first two, sums and results are float32 (float64 for float64 inputs). All three
    results have gradients with respect to hidden states, matrix and bias, each in its input's type; the matrix's is
    summed in float32. ``temperature`` is positive, a number or an array that broadcasts to [B, T]; it is a constant to
    gradients. Reverse mode only.

    A negative target is ignored: its log-probability is 0 and passes no gradient (entropy and log-sum-exp are as ever).
    A target of V or more gives NaN, in the log-probability and in the gradients that it reaches. Targets [B, T, K] ask
    for K candidates of each token, a few dozen at most.

    ``kernels`` compute it (None: those for the mesh's devices; ``backends.kernels_for``), chunks of tokens in plain
    XLA or Pallas kernels on TPUs. With ``sharding``, both passes run under ``jax.shard_map``; arrays are the global
    ones, B and T must divide over their mesh axes, V and D need not.
    Raises InputError for shapes that don't fit, and for a temperature or cap that isn't positive.
    """
    _check(hidden_BTD, unembed_DV, targets_BT, temperature, soft_cap, bias_V, sharding)
    width, vocabulary = unembed_DV.shape
    dtype = jnp.promote_types(jnp.result_type(hidden_BTD, unembed_DV), jnp.float32)
    inverse_temperature_BT = inverse_of(temperature, targets_BT.shape[:2], dtype)
    unembed_DV = sharded.pad_unembed(unembed_DV, sharding)
    if bias_V is not None and sharding is not None:
        bias_V = sharded.pad_to(bias_V, 0, sharding.size(sharding.vocabulary_axis))
    kernels = kernels or kernels_for("auto", None if sharding is None else sharding.mesh)
    plan = _Plan(soft_cap, vocabulary, width, sharding, kernels)
    targets_BTK = targets_BT if targets_BT.ndim == 3 else targets_BT[..., None]
    results: TokenLogProbs = _token_log_probs(plan, hidden_BTD, unembed_DV, bias_V, targets_BTK, inverse_temperature_BT)
    return results if targets_BT.ndim == 3 else results._replace(log_prob_BT=results.log_prob_BT[..., 0])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _token_log_probs(plan: _Plan, hidden: Array, unembed: Array, bias: Array | None, targets: Array, inverse: Array):
    return _forward(plan, hidden, unembed, bias, targets, inverse)[0]


def _forward(plan: _Plan, *arrays: Array | None) -> tuple[TokenLogProbs, tuple]:
    outputs, residuals = _on_each_device(_local_forward, plan, kept=0, results=None)(*arrays)
    return outputs, (*arrays, residuals)


def _backward(plan: _Plan, kept: tuple, upstream: TokenLogProbs) -> tuple:
    of_parameters = _on_each_device(_local_backward, plan, kept=2, results=3)(*kept, upstream)
    return (*sharded.scattered_first(of_parameters, plan.sharding), None, jnp.zeros_like(kept[4]))


_token_log_probs.defvjp(_forward, _backward)


def _on_each_device(function: Callable, plan: _Plan, *, kept: int, results: int | None) -> Callable:
    """``function`` of the five operands and ``kept`` records of [B, T] arrays; see ``sharded.on_each_device``."""
    operands = ("token", "unembed", "bias", "token", "token")
    local = functools.partial(function, plan)
    return sharded.on_each_device(
        local, plan.sharding, (*operands, *["token"] * kept), results=results, typed=plan.kernels.typed
    )


def _local_operands(
    plan: _Plan, hidden: Array, unembed: Array, bias: Array | None, targets: Array, inverse: Array
) -> tuple[Operands, Array]:
    """This device's operands, and its targets counted from its first column."""
    sizes, sharding = (plan.width, plan.vocabulary), plan.sharding
    operands = sharded.local_operands(hidden, unembed, bias, inverse, sizes, plan.soft_cap, sharding)
    return operands, targets.astype(jnp.int32) - sharded.first_column(unembed.shape[1], sharding)


def _local_forward(plan: _Plan, *arrays) -> tuple[TokenLogProbs, SoftmaxResiduals]:
    targets = arrays[3]
    own = plan.kernels.statistics(*_local_operands(plan, *arrays))
    whole = sharded.merge(own, plan.sharding)
    log_total = jnp.log(whole.total)
    entropy = log_total - whole.moment / whole.total
    log_prob = (whole.target - whole.shift[..., None]) - log_total[..., None]
    log_prob = _at_targets(log_prob, targets, plan.vocabulary)
    return TokenLogProbs(log_prob, entropy, whole.shift + log_total), SoftmaxResiduals(whole.shift, log_total, entropy)


def _local_backward(
    plan: _Plan, hidden, unembed, bias, targets, inverse, residuals: SoftmaxResiduals, upstream: TokenLogProbs
):
    """Gradients of logit z, per token: of log p(target), [z is the target] - p; of the entropy, -p (log p + entropy);
    of the log-sum-exp, p."""
    operands, local_targets = _local_operands(plan, hidden, unembed, bias, targets, inverse)
    target = _at_targets(upstream.log_prob_BT, targets, plan.vocabulary)
    coefficients = LogitCoefficients(upstream.logsumexp_BT - target.sum(axis=-1), upstream.entropy_BT, target)
    sharding = plan.sharding
    types = sharded.gradient_types(hidden, unembed, operands.accumulator, sharding)
    of_hidden, of_parameters = plan.kernels.gradients(operands, local_targets, residuals, coefficients, types)
    of_hidden = sharded.sum_over_columns(of_hidden, sharding).astype(hidden.dtype)
    of_unembed = sharded.sum_over_tokens(of_parameters.unembed_DV, sharding, scatter=True).astype(unembed.dtype)
    if bias is None or of_parameters.bias_V is None:
        return of_hidden, of_unembed, None
    return (
        of_hidden,
        of_unembed,
        sharded.sum_over_tokens(of_parameters.bias_V, sharding, scatter=False).astype(bias.dtype),
    )


def _at_targets(values: Array, targets: Array, vocabulary: int) -> Array:
    """0 where the target is ignored, NaN where it isn't in the vocabulary."""
    return jnp.where(targets < 0, 0, jnp.where(targets >= vocabulary, jnp.nan, values))


def _check(hidden, unembed, targets, temperature, soft_cap, bias, sharding: VocabularySharding | None) -> None:
    if hidden.ndim != 3 or unembed.shape[:1] != hidden.shape[2:] or unembed.ndim != 2:
        raise InputError(f"hidden states {hidden.shape} and unembedding {unembed.shape} must be [B, T, D] and [D, V]")
    if targets.ndim not in (2, 3) or targets.shape[:2] != hidden.shape[:2] or 0 in targets.shape:
        raise InputError(
            f"targets {targets.shape} must be [B, T] or [B, T, K] of the hidden states {hidden.shape}, and not empty"
        )
    if bias is not None and bias.shape != unembed.shape[1:]:
        raise InputError(f"bias {bias.shape} must be [V] of the unembedding {unembed.shape}")
    check_temperature(temperature)
    check_soft_cap(soft_cap)
    sharded.check_tokens(targets.shape[:2], sharding)
