"""Log-probability, entropy and log-sum-exp of every token from hidden states and the unembedding, without logits.

Losses of reinforcement learning, distillation and fine-tuning all start here. An array of [tokens, vocabulary] is never
made, forward or backward, on one device or many.

Legend: B rows, T time, K candidates of one token, D model width, V vocabulary.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from reasoning.core.errors import InputError
from reasoning.kernels import vocabulary_sharding as sharded
from reasoning.kernels.backends import Kernels, kernels_for
from reasoning.kernels.operands import (
    GradientTypes,
    LogitCoefficients,
    Operands,
    ParameterGradients,
    SoftmaxResiduals,
    Statistics,
    check_soft_cap,
    check_temperature,
    inverse_of,
)
from reasoning.kernels.token_loss import TokenLoss, weights_of
from reasoning.kernels.vocabulary_sharding import VocabularySharding


class TokenLogProbs(NamedTuple):
    """What a distribution over the vocabulary says of each token, float32 [B, T], in nats.

    Where K candidates of each token were asked for, their log-probabilities are [B, T, K].
    """

    log_prob_BT: Array
    entropy_BT: Array
    logsumexp_BT: Array


_GRADIENTS = ("token", "unembed", "bias")
"""How the gradients of the first three operands lie."""


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
    plan = _plan_of(unembed_DV, soft_cap, sharding, kernels)
    arrays = _arrays_of(plan, hidden_BTD, unembed_DV, bias_V, targets_BT, temperature)
    results: TokenLogProbs = _token_log_probs(plan, *arrays)
    return results if targets_BT.ndim == 3 else _of_one(results)


def summed_losses(
    hidden_BTD: Float[Array, "B T D"],
    unembed_DV: Float[Array, "D V"],
    targets_BT: Int[Array, "B T"],
    loss: TokenLoss,
    values: Any,
    *,
    temperature: float | Float[Array, "..."] = 1.0,
    soft_cap: float | None = None,
    bias_V: Float[Array, " V"] | None = None,
    sharding: VocabularySharding | None = None,
    kernels: Kernels | None = None,
) -> tuple[Float[Array, ""], TokenLogProbs]:
    """``sum(loss(log p, values))``, and what ``token_log_probs`` gives, as numbers that pass no gradient.

    For losses that treat each token by itself (``token_loss.is_by_token``): supervised ones, most policy gradients.
    There each logit need be made once, 6 N D V operations instead of 8, since gradients are made in the forward pass
    and kept; the backward pass multiplies them by the sum's own upstream gradient. ``values`` is a tree of arrays
    [B, T]. The sum has gradients with respect to hidden states, matrix, bias and values. All else is as in
    ``token_log_probs``, whose two passes compute it where ``kernels`` have no such pass, or no ``whole_sums`` where the
    matrix's gradient leaves narrower than it is summed, in bfloat16.
    """
    _check(hidden_BTD, unembed_DV, targets_BT, temperature, soft_cap, bias_V, sharding)
    for leaf in jax.tree.leaves(values):
        if leaf.shape != targets_BT.shape or targets_BT.ndim != 2:
            raise InputError(f"values {leaf.shape} and targets {targets_BT.shape} must both be [B, T]")
    plan = _plan_of(unembed_DV, soft_cap, sharding, kernels)
    arrays = _arrays_of(plan, hidden_BTD, unembed_DV, bias_V, targets_BT, temperature)
    inverse_BT = arrays[-1]
    types = sharded.gradient_types(hidden_BTD, unembed_DV, inverse_BT.dtype, sharding)
    sums_fit = plan.kernels.whole_sums or types.unembed == inverse_BT.dtype
    if plan.kernels.weighted is None or not sums_fit:
        results = _of_one(_token_log_probs(plan, *arrays))
        return jnp.sum(loss(results.log_prob_BT, values)), jax.lax.stop_gradient(results)
    found: tuple[Array, TokenLogProbs] = _summed(plan, loss, *arrays, values)
    return found[0], jax.lax.stop_gradient(found[1])


def _plan_of(
    unembed: Array, soft_cap: float | None, sharding: VocabularySharding | None, kernels: Kernels | None
) -> _Plan:
    width, vocabulary = unembed.shape
    kernels = kernels or kernels_for("auto", None if sharding is None else sharding.mesh)
    return _Plan(soft_cap, vocabulary, width, sharding, kernels)


def _arrays_of(
    plan: _Plan, hidden: Array, unembed: Array, bias: Array | None, targets: Array, temperature: Any
) -> tuple[Array, Array, Array | None, Array, Array]:
    """The operands, padded where the mesh cuts them, with targets [B, T, K]."""
    dtype = jnp.promote_types(jnp.result_type(hidden, unembed), jnp.float32)
    inverse = inverse_of(temperature, targets.shape[:2], dtype)
    if bias is not None and plan.sharding is not None:
        bias = sharded.pad_to(bias, 0, plan.sharding.size(plan.sharding.vocabulary_axis))
    targets = targets if targets.ndim == 3 else targets[..., None]
    return hidden, sharded.pad_unembed(unembed, plan.sharding), bias, targets, inverse


def _of_one(results: TokenLogProbs) -> TokenLogProbs:
    """The results of one candidate a token."""
    return results._replace(log_prob_BT=results.log_prob_BT[..., 0])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _token_log_probs(plan: _Plan, hidden: Array, unembed: Array, bias: Array | None, targets: Array, inverse: Array):
    return _forward(plan, hidden, unembed, bias, targets, inverse)[0]


def _forward(plan: _Plan, *arrays: Array | None) -> tuple[TokenLogProbs, tuple]:
    outputs, residuals = _on_each_device(_local_forward, plan, kept=0, results="token")(*arrays)
    return outputs, (*arrays, residuals)


def _backward(plan: _Plan, kept: tuple, upstream: TokenLogProbs) -> tuple:
    of_parameters = _on_each_device(_local_backward, plan, kept=2, results=_GRADIENTS)(*kept, upstream)
    return (*sharded.scattered_first(of_parameters, plan.sharding), None, jnp.zeros_like(kept[4]))


_token_log_probs.defvjp(_forward, _backward)


def _on_each_device(function: Callable, plan: _Plan, *, kept: int, results: Any) -> Callable:
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
    own, local_targets = _own_operands(plan, hidden, unembed, bias, targets, inverse)
    return sharded.gathered(own, plan.width, plan.sharding), local_targets


def _own_operands(
    plan: _Plan, hidden: Array, unembed: Array, bias: Array | None, targets: Array, inverse: Array
) -> tuple[Operands, Array]:
    """The same with the rows of the matrix that this device holds."""
    sharding = plan.sharding
    operands = sharded.own_operands(hidden, unembed, bias, inverse, plan.vocabulary, plan.soft_cap, sharding)
    return operands, targets.astype(jnp.int32) - sharded.first_column(unembed.shape[1], sharding)


def _local_forward(plan: _Plan, *arrays) -> tuple[TokenLogProbs, SoftmaxResiduals]:
    own = plan.kernels.statistics(*_local_operands(plan, *arrays))
    return _results_of(plan, sharded.merge(own, plan.sharding), arrays[3])


def _results_of(plan: _Plan, whole: Statistics, targets: Array) -> tuple[TokenLogProbs, SoftmaxResiduals]:
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
    own, local_targets = _own_operands(plan, hidden, unembed, bias, targets, inverse)
    target = _at_targets(upstream.log_prob_BT, targets, plan.vocabulary)
    coefficients = LogitCoefficients(upstream.logsumexp_BT - target.sum(axis=-1), upstream.entropy_BT, target)
    sharding, wide = plan.sharding, own.accumulator
    if sharding is None or not sharded.has_strips(plan.width, unembed.shape[1], sharding):
        types = sharded.gradient_types(hidden, unembed, wide, sharding)
        operands = sharded.gathered(own, plan.width, sharding)
        summed = plan.kernels.gradients(operands, local_targets, residuals, coefficients, types, None)
        return _gathered(hidden, unembed, bias, *summed, sharding)

    def of_strip(part: tuple[Operands, ...], first: Array, hidden_sum: Array) -> tuple[Array, ParameterGradients]:
        types = GradientTypes(wide, wide)
        return plan.kernels.gradients(part[0], local_targets - first, residuals, coefficients, types, hidden_sum)

    of_hidden, scattered = sharded.gradients_by_strips(of_strip, (own,), (plan.width,), sharding, plan.kernels.typed)
    of_bias = None if bias is None or scattered.bias_V is None else scattered.bias_V.astype(bias.dtype)
    return sharded.sum_over_columns(of_hidden, sharding).astype(hidden.dtype), scattered.unembed_DV, of_bias


def _gathered(
    hidden: Array,
    unembed: Array,
    bias: Array | None,
    of_hidden: Array,
    of_parameters: ParameterGradients,
    sharding: VocabularySharding | None,
) -> tuple[Array, Array, Array | None]:
    """This device's parts of the gradients, summed over the mesh, in their operands' types."""
    of_hidden = sharded.sum_over_columns(of_hidden, sharding).astype(hidden.dtype)
    of_unembed = sharded.sum_over_tokens(of_parameters.unembed_DV, sharding, scatter=True).astype(unembed.dtype)
    if bias is None or of_parameters.bias_V is None:
        return of_hidden, of_unembed, None
    return (
        of_hidden,
        of_unembed,
        sharded.sum_over_tokens(of_parameters.bias_V, sharding, scatter=False).astype(bias.dtype),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _summed(plan: _Plan, loss: TokenLoss, hidden, unembed, bias, targets, inverse, values):
    results = _of_one(_token_log_probs(plan, hidden, unembed, bias, targets, inverse))
    return jnp.sum(loss(results.log_prob_BT, values)), results


def _summed_forward(plan: _Plan, loss: TokenLoss, *arrays: Any) -> tuple[tuple[Array, TokenLogProbs], tuple]:
    local = functools.partial(_local_summed, loss)
    results, gradients = _on_each_device(local, plan, kept=1, results=("token", _GRADIENTS))(*arrays)
    gradients = sharded.scattered_first(gradients, plan.sharding)
    return (jnp.sum(loss(results.log_prob_BT, arrays[5])), results), (gradients, results.log_prob_BT, arrays[5])


def _summed_backward(plan: _Plan, loss: TokenLoss, kept: tuple, upstream: tuple[Array, TokenLogProbs]) -> tuple:
    gradients, log_prob_BT, values = kept
    scaled = jax.tree.map(lambda gradient: (upstream[0] * gradient).astype(gradient.dtype), gradients)
    _, of_values = jax.vjp(lambda values: jnp.sum(loss(log_prob_BT, values)), values)
    return *scaled, None, jnp.zeros_like(log_prob_BT), *of_values(upstream[0])


_summed.defvjp(_summed_forward, _summed_backward)


def _local_summed(
    loss: TokenLoss, plan: _Plan, hidden, unembed, bias, targets, inverse, values
) -> tuple[TokenLogProbs, tuple]:
    operands, local_targets = _local_operands(plan, hidden, unembed, bias, targets, inverse)
    merged = functools.partial(sharded.merge, sharding=plan.sharding)
    assert plan.kernels.weighted is not None, "asked before"

    def weigh(log_probs: Array, part: tuple[Array, Any]) -> Array:
        own_targets, own_values = part
        known = _at_targets(log_probs, own_targets, plan.vocabulary)
        return _at_targets(weights_of(loss, known, own_values), own_targets, plan.vocabulary)

    parts = targets[..., 0], values
    whole, of_hidden, of_parameters = plan.kernels.weighted(operands, local_targets, weigh, parts, merged)
    results, _ = _results_of(plan, whole, targets)
    return _of_one(results), _gathered(hidden, unembed, bias, of_hidden, of_parameters, plan.sharding)


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
