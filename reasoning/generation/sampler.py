"""What is drawn at one place of a completion, and from which stream of random numbers.

Shapes: P prompts, B slots, V vocabulary.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from reasoning.generation.truncation import TracedTruncation, truncated


@dataclass(frozen=True)
class SamplerSettings:
    """What is static about a sampler: samples a prompt, tokens of a completion at most, the ids that end one.

    ``slots`` completions are decoded side by side on each data-parallel device (0: as many as there are, up to 64).
    ``longest_prompt`` is what prompts are padded to at least, so that a caller who knows all of its prompts compiles
    one program; what a call's prompts need beyond it is rounded up to a power of two.
    """

    samples: int
    max_new_tokens: int
    end_ids: tuple[int, ...]
    slots: int = 0
    longest_prompt: int = 0


def common_settings(settings: SamplerSettings) -> SamplerSettings:
    """What of the settings the engine's program depends on beside its sizes, which say the rest."""
    return SamplerSettings(0, settings.max_new_tokens, settings.end_ids)


def prompt_keys(key: jax.Array, ids_P: jax.Array) -> jax.Array:
    """One key a prompt, from its identity; a request's is this with its number in the group folded in."""
    # With a key for each slot a request's tokens would depend on its neighbours, on the number of devices, and on when
    # a slot becomes free for it.
    return jax.vmap(jax.random.fold_in, (None, 0))(key, ids_P)


def _first_largest(values_BV: jax.Array) -> jax.Array:
    """``argmax`` by two plain reductions: one of pairs, as JAX makes it, takes the CPU four times as long."""
    vocabulary = values_BV.shape[-1]
    largest_B1 = jnp.max(values_BV, axis=-1, keepdims=True)
    places_BV = jnp.where(values_BV == largest_B1, jnp.arange(vocabulary), vocabulary - 1)
    return jnp.min(places_BV, axis=-1)


def draw(
    logits_BV: jax.Array,
    keys_B: jax.Array,
    places_B: jax.Array,
    temperature: jax.Array,
    truncation: TracedTruncation | None,
) -> tuple[jax.Array, jax.Array]:
    """Each slot's next token, at ``places_B`` of its completion, and its log-probability under what is drawn from.

    Temperature 0 takes the likeliest. Keys are requests', into which the place is folded.
    """

    # One program for all temperatures, which is a traced number: zero must not divide.
    scaled_BV = logits_BV / jnp.where(temperature > 0, temperature, 1.0)
    if truncation is not None:
        scaled_BV = truncated(scaled_BV, truncation)
    most_B1 = jnp.max(scaled_BV, axis=-1, keepdims=True)
    likelihoods_BV = jnp.exp(scaled_BV - most_B1)

    def raced() -> jax.Array:
        keys = jax.vmap(jax.random.fold_in)(keys_B, places_B)
        tiny = jnp.finfo(jnp.float32).tiny
        uniform_BV = jax.vmap(lambda key: jax.random.uniform(key, logits_BV.shape[1:], minval=tiny))(keys)
        # Gumbel-max: the argmax of logits plus Gumbel noise -log(-log(u)) is a draw from their softmax, without a
        # cumulative sum. Of exponentials it is that of p / -log(u), with a logarithm less for each token there is.
        return likelihoods_BV / -jnp.log(uniform_BV)

    chosen_B = _first_largest(jax.lax.cond(temperature > 0, raced, lambda: logits_BV))
    picked_B1 = jnp.take_along_axis(scaled_BV, chosen_B[:, None], axis=-1)
    log_probs_B1 = picked_B1 - most_B1 - jnp.log(jnp.sum(likelihoods_BV, axis=-1, keepdims=True))
    return chosen_B.astype(jnp.int32), log_probs_B1[:, 0]
