"""A "model" that is no network, for tests of what an engine does with its completions."""

from typing import Any

import jax
import jax.numpy as jnp

from reasoning.models.foreign import ForeignModel

VOCABULARY, END = 100, 0


def counting_model(steps: list[int]) -> ForeignModel:
    """A "model" whose next token is one less than the last: a prompt that ends in n is answered by n tokens.

    It notes how many slots each step of decoding has.
    """

    def states(tokens: jax.Array) -> jax.Array:
        return 50.0 * jax.nn.one_hot(tokens - 1, VOCABULARY)

    def prefill(weights: Any, tokens: jax.Array, lengths: jax.Array, cache: Any) -> tuple[jax.Array, Any]:
        last = jnp.take_along_axis(tokens, lengths[:, None] - 1, axis=1)[:, 0]
        return states(last), {**cache, "length": lengths}

    def decode(weights: Any, tokens: jax.Array, cache: Any) -> tuple[jax.Array, Any]:
        jax.debug.callback(lambda: steps.append(tokens.shape[0]))
        return states(tokens), {"layers": cache["layers"], "length": cache["length"] + 1}

    return ForeignModel(
        mesh=None,
        shapes={},
        axes={},
        context=200,
        hidden_states=lambda *_: (jnp.zeros(0), {}),
        unembedding=lambda weights: jnp.eye(VOCABULARY),
        soft_cap=None,
        publish=lambda params: params,
        cache_shapes=lambda slots, time: {"layers": (), "length": jax.ShapeDtypeStruct((slots,), jnp.int32)},
        prefill=prefill,
        decode=decode,
    )
