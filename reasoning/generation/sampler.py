"""Sampling completions with a key/value cache, in one jitted program a prompt length.

Shapes: P prompts, G samples a prompt, B = P * G requests, T prompt time, N new tokens, D model width, V vocabulary.
"""

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from reasoning.core.mesh import constrain
from reasoning.generation.truncation import TracedTruncation, truncated
from reasoning.models.cache import Cache, Weights
from reasoning.models.decoder import soft_capped
from reasoning.models.model import LanguageModel


@struct.dataclass
class Completions:
    """What was sampled: ``tokens`` up to and including the end symbol, then padding (0).

    ``log_probs`` are those of the distribution that was sampled from; ``lengths`` count the end symbol; ``truncated``
    completions hit the limit before an end symbol.
    """

    tokens: Int[Array, "B N"]
    log_probs: Float[Array, "B N"]
    lengths: Int[Array, " B"]
    truncated: Bool[Array, " B"]


@struct.dataclass
class _SamplerState:
    """The state of the decoding loop."""

    index: jax.Array
    hidden: Float[Array, "B D"]
    done: Bool[Array, " B"]
    cache: Cache
    tokens: Int[Array, "B N"]
    log_probs: Float[Array, "B N"]
    lengths: Int[Array, " B"]


@dataclass(frozen=True)
class SamplerSettings:
    """What is static about a sampler: group size, limit, the ids that end a completion, the lengths of prompts.

    ``lengths`` are what prompts are padded to (empty: powers of two), ``first_cache`` is for how many new tokens its
    cache has room at first, at least (see ``cache_bounds``).
    """

    samples: int
    max_new_tokens: int
    end_ids: tuple[int, ...]
    lengths: tuple[int, ...] = ()
    first_cache: int = 24


def _sample_tokens(
    logits_BV: jax.Array,
    keys_B: jax.Array,
    index: jax.Array,
    temperature: jax.Array,
    truncation: TracedTruncation | None,
) -> tuple[jax.Array, jax.Array]:
    """The next token of each request and its log-probability; temperature 0 takes the likeliest.

    The key folds in (request, token), never the slot, so that scheduling can't change what is sampled.
    """
    # One program for all temperatures, which is a traced number: zero must not divide.
    scaled_BV = logits_BV / jnp.where(temperature > 0, temperature, 1.0)
    if truncation is not None:
        scaled_BV = truncated(scaled_BV, truncation)
    keys = jax.vmap(jax.random.fold_in, (0, None))(keys_B, index)
    # Gumbel-max: the argmax of logits plus Gumbel noise is a draw from their softmax, without a cumulative sum over V.
    noise_BV = jax.vmap(lambda key: jax.random.gumbel(key, logits_BV.shape[1:]))(keys)
    chosen_B = jnp.argmax(jnp.where(temperature > 0, scaled_BV + noise_BV, logits_BV), axis=-1)
    picked_B = jnp.take_along_axis(scaled_BV, chosen_B[:, None], axis=-1)[:, 0]
    return chosen_B.astype(jnp.int32), picked_B - jax.nn.logsumexp(scaled_BV, axis=-1)


def _request_keys(key: jax.Array, ids_P: jax.Array, samples: int) -> jax.Array:
    """One key a request, from the identity of its prompt and its number in the group."""
    # With a key for each slot, the row in a batch, a request's tokens would depend on its neighbours, on the number of
    # devices, and on when an engine that refills slots starts it.
    prompt_keys = jax.vmap(jax.random.fold_in, (None, 0))(key, ids_P)
    each = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))(prompt_keys, jnp.arange(samples))
    return each.reshape(-1)


def cache_bounds(limit: int, first: int) -> tuple[int, ...]:
    """After how many new tokens the cache is full and grows: ``limit``, and each time a quarter of the one behind it.

    None is below ``first``; where already a quarter of the limit would be, there may be a half. Each part is a loop of
    its own to compile, all layers in it, which costs more than it saves where there are many.
    """
    bounds = [limit]
    while bounds[0] // 4 >= first:
        bounds.insert(0, bounds[0] // 4)
    if bounds == [limit] and limit // 2 >= first:
        bounds.insert(0, limit // 2)
    return tuple(bounds)


def grow_cache(cache: Cache, length: int) -> Cache:
    """The cache with room for ``length`` tokens a slot."""

    def pad(leaf: jax.Array) -> jax.Array:
        return jnp.pad(leaf, ((0, 0), (0, 0), (0, length - leaf.shape[2]), (0, 0)))

    return {**cache, "layers": jax.tree.map(pad, cache["layers"])}


def sample(
    model: LanguageModel,
    settings: SamplerSettings,
    weights: Weights,
    prompts_PT: jax.Array,
    lengths_P: jax.Array,
    ids_P: jax.Array,
    key: jax.Array,
    temperature: jax.Array,
    truncation: TracedTruncation | None,
) -> Completions:
    """Prefills each prompt once, repeats its cache for its samples, and decodes until all have ended.

    A prompt of length 0 only fills the batch up: its requests are done from the start, with length 0. The loop runs in
    chunks between which the cache grows, so that short completions never pay for the longest.
    """
    # As long as the prompts only: prefill scores each token against the whole cache, used or not.
    time, limit = prompts_PT.shape[1], settings.max_new_tokens
    pin = partial(constrain, model.mesh)
    empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), model.cache_shapes(prompts_PT.shape[0], time))
    # Prefill takes the last token of each prompt, so one that isn't there must have one all the same.
    hidden_PD, cache = model.prefill(weights, prompts_PT, jnp.maximum(lengths_P, 1), empty)
    repeat = partial(jnp.repeat, repeats=settings.samples, axis=0)
    cache, hidden_BD = jax.tree.map(
        lambda leaf: pin(repeat(leaf), ("batch",) + (None,) * (leaf.ndim - 1)), (cache, hidden_PD)
    )
    requests = hidden_BD.shape[0]
    keys_B = _request_keys(key, ids_P, settings.samples)
    head_DV = model.unembedding(weights)
    state = _SamplerState(
        index=jnp.zeros((), jnp.int32),
        hidden=hidden_BD,
        done=repeat(lengths_P == 0),
        cache=cache,
        tokens=jnp.zeros((requests, limit), jnp.int32),
        log_probs=jnp.zeros((requests, limit), jnp.float32),
        lengths=jnp.zeros((requests,), jnp.int32),
    )

    # Rows that are done go on as token 0, since all rows of a batch take the same step: their cache fills with values
    # that nobody reads, and their tokens, log-probabilities and lengths stay as they were.
    def body(now: _SamplerState) -> _SamplerState:
        logits_BV = soft_capped(jnp.dot(now.hidden, head_DV, preferred_element_type=jnp.float32), model.soft_cap)
        chosen_B, log_prob_B = _sample_tokens(logits_BV, keys_B, now.index, temperature, truncation)
        chosen_B = jnp.where(now.done, 0, chosen_B)
        hidden, cache = model.decode(weights, chosen_B, now.cache)
        return _SamplerState(
            index=now.index + 1,
            hidden=hidden,
            done=now.done | jnp.isin(chosen_B, jnp.asarray(settings.end_ids)),
            cache=cache,
            tokens=now.tokens.at[:, now.index].set(chosen_B),
            log_probs=now.log_probs.at[:, now.index].set(jnp.where(now.done, 0.0, log_prob_B)),
            lengths=now.lengths + ~now.done,
        )

    # Shapes can't change inside a loop, so each chunk is a loop of its own over a longer cache. A chunk whose requests
    # are all done makes no step, and only pays for copying the cache.
    for bound in cache_bounds(limit, settings.first_cache):
        state = replace(state, cache=grow_cache(state.cache, time + bound))
        state = jax.lax.while_loop(lambda now, bound=bound: (now.index < bound) & ~jnp.all(now.done), body, state)
    return Completions(state.tokens, state.log_probs, state.lengths, ~state.done)
