"""Which experts a token goes to, with what weights, and how even that is.

Shapes: B batch, T time, E experts, A active experts a token.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from reasoning.models.config import MoE

_BEST_OF_GROUP = 2  # a group of experts is judged by the sum of its best two scores (arXiv 2412.19437, section 2.1.2)


def affinities(moe: MoE, logits_BTE: Float[Array, "B T E"]) -> Float[Array, "B T E"]:
    """How well each expert suits a token, float32."""
    logits_BTE = logits_BTE.astype(jnp.float32)
    return jax.nn.softmax(logits_BTE, axis=-1) if moe.router == "softmax" else jax.nn.sigmoid(logits_BTE)


def choose_experts(
    moe: MoE, scores_BTE: Float[Array, "B T E"], bias_E: Float[Array, " E"] | None
) -> tuple[Int[Array, "B T A"], Float[Array, "B T A"]]:
    """The experts of each token, best first, and their weights; the bias decides who is chosen, but weighs nothing."""
    wanted = jax.lax.stop_gradient(scores_BTE if bias_E is None else scores_BTE + bias_E.astype(jnp.float32))
    if moe.groups > 1:
        wanted = jnp.where(_in_best_groups(moe, wanted), wanted, -jnp.inf)
    chosen_BTA = jax.lax.top_k(wanted, moe.active)[1]
    weights_BTA = jnp.take_along_axis(scores_BTE, chosen_BTA, axis=-1)
    if moe.renormalise:
        weights_BTA = weights_BTA / (jnp.sum(weights_BTA, axis=-1, keepdims=True) + 1e-20)
    return chosen_BTA, weights_BTA * moe.scale


def _in_best_groups(moe: MoE, wanted_BTE: jax.Array) -> jax.Array:
    size = moe.experts // moe.groups
    by_group = wanted_BTE.reshape(*wanted_BTE.shape[:-1], moe.groups, size)
    worth = jnp.sum(jax.lax.top_k(by_group, min(_BEST_OF_GROUP, size))[0], axis=-1)
    best = jax.lax.top_k(worth, moe.active_groups)[1]
    kept = jnp.any(best[..., None] == jnp.arange(moe.groups), axis=-2)
    return jnp.repeat(kept, size, axis=-1)


def expert_loads(moe: MoE, chosen_BTA: jax.Array, token_mask_BT: jax.Array) -> Float[Array, "B E"]:
    """How many of each row's tokens in the mask went to each expert."""
    hits_BTE = jnp.sum(jax.nn.one_hot(chosen_BTA, moe.experts, dtype=jnp.float32), axis=-2)
    return jnp.sum(hits_BTE * token_mask_BT[..., None], axis=1)


def imbalance(moe: MoE, scores_BTE: jax.Array, load_BE: jax.Array, token_mask_BT: jax.Array) -> Float[Array, " B"]:
    """DeepSeek-V3's balance loss of each row without its coefficient (arXiv 2412.19437, eq. 17 to 20).

    It is 1 where all experts are chosen equally often. A row of packed documents counts as one sequence.
    """
    count_B1 = jnp.maximum(jnp.sum(token_mask_BT, axis=1, keepdims=True), 1.0)
    frequency_BE = load_BE * moe.experts / (moe.active * count_B1)
    share_BTE = scores_BTE / (jnp.sum(scores_BTE, axis=-1, keepdims=True) + 1e-20)
    mean_BE = jnp.sum(share_BTE * token_mask_BT[..., None], axis=1) / count_B1
    return jnp.sum(jax.lax.stop_gradient(frequency_BE) * mean_BE, axis=-1)


def rebalanced(moe: MoE, bias_LE: jax.Array, load_LE: jax.Array) -> jax.Array:
    """Biases a step later: up where an expert got less than its share, down where more (arXiv 2408.15664, alg. 1)."""
    mean = jnp.mean(load_LE, axis=-1, keepdims=True)
    return bias_LE + moe.bias_rate * jnp.sign(mean - load_LE)
