"""The state of an engine: slots that decode side by side, a pool of prompts that were read, and what has ended.

Everything lies in as many parts as there are data-parallel devices, each with slots, prompts and outputs of its own, so
that filling a slot moves nothing between devices.

Shapes: D parts, P prompts of a page, B slots, R output rows, T prompt time, N new tokens, W model width, V vocabulary.
"""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, Key

from reasoning.core import mesh as meshes
from reasoning.generation.reading import empty_cache
from reasoning.generation.shaping import TracedShaping
from reasoning.generation.truncation import TracedTruncation
from reasoning.models.cache import Cache
from reasoning.models.model import LanguageModel


@dataclass(frozen=True)
class Sizes:
    """How large an engine's arrays are, of which there are ``parts``.

    Each has so many slots, room for so many prompts of ``time`` tokens, of which ``group`` are read at once, and for so
    many completions that have ended. ``prompts`` is a multiple of ``group``. ``vocabulary`` is of how many tokens slots
    remember whether their texts hold them: 0 where nobody asks.
    """

    parts: int
    slots: int
    prompts: int
    group: int
    time: int
    ended: int
    vocabulary: int = 0


@struct.dataclass
class Slots:
    """What is decoded: each slot's request, how far it is, and the state from which its next token is drawn.

    ``request`` is the request's number, -1 in a free slot. ``done``: nothing more is drawn; ``ended``: by an end.
    ``place`` is the state in the table of what may be said (``shaping.Shaping.table``), 0 without one.
    """

    hidden: Float[Array, "B W"]
    cache: Cache
    keys: Key[Array, " B"]
    request: Int[Array, " B"]
    count: Int[Array, " B"]
    done: Bool[Array, " B"]
    ended: Bool[Array, " B"]
    tokens: Int[Array, "B N"]
    log_probs: Float[Array, "B N"]
    seen: Bool[Array, "B V"]
    place: Int[Array, " B"]


@struct.dataclass
class Pool:
    """A page of prompts that were read, and which of each part's requests comes ``next``, up to ``stop``."""

    hidden: Float[Array, "P W"]
    cache: Cache
    keys: Key[Array, " P"]
    tokens: Int[Array, "P T"]
    numbers: Int[Array, " P"]
    next: Int[Array, " D"]
    stop: Int[Array, " D"]


@struct.dataclass
class Finished:
    """Completions that have ended, as they ended: of each part the first ``count`` rows; its last is for trash.

    ``tokens`` go up to and including the end symbol, then are 0; so many, at most, are the ``lengths``. ``truncated``
    completions hit the limit before an end symbol.
    """

    request: Int[Array, " R"]
    tokens: Int[Array, "R N"]
    log_probs: Float[Array, "R N"]
    lengths: Int[Array, " R"]
    truncated: Bool[Array, " R"]
    count: Int[Array, " D"]


@struct.dataclass
class State:
    """All of it; every leaf's first axis is split over the data-parallel devices."""

    slots: Slots
    pool: Pool
    finished: Finished


@struct.dataclass
class Page:
    """The next prompts [P, T], padded on the right, the identities of their streams and their numbers in the call.

    Of each part the first so many have a length above 0; the others only fill up. Where all do, the last page goes on.
    """

    tokens: Int[Array, "P T"] | np.ndarray
    lengths: Int[Array, " P"] | np.ndarray
    ids: Int[Array, " P"] | np.ndarray
    numbers: Int[Array, " P"] | np.ndarray


@struct.dataclass
class Asked:
    """What a call asks of each prompt: how many samples, and how they are drawn.

    ``more`` pages follow; ``steps`` tokens, at most, are written in each slot before the host looks.
    """

    samples: Int[Array, ""]
    temperature: Float[Array, ""]
    truncation: TracedTruncation | None
    shaping: TracedShaping | None
    more: Bool[Array, ""]
    steps: Int[Array, ""]


def empty_state(model: LanguageModel, limit: int, sizes: Sizes, key: jax.Array) -> State:
    """The state before the first page, for completions up to ``limit``; ``key`` only tells of which kind keys are."""
    slots, prompts = sizes.parts * sizes.slots, sizes.parts * sizes.prompts
    rows = sizes.parts * (sizes.ended + 1)

    def hidden(rows: int) -> jax.Array:
        one = jax.ShapeDtypeStruct((rows, 1), jnp.int32), jax.ShapeDtypeStruct((rows,), jnp.int32)
        weights = jax.eval_shape(model.publish, model.shapes)
        shape = jax.eval_shape(model.prefill, weights, *one, model.cache_shapes(rows, 1))[0]
        return jnp.zeros(shape.shape, shape.dtype)

    def zeros(*shape: int) -> jax.Array:
        return jnp.zeros(shape, jnp.int32)

    return State(
        Slots(
            hidden=hidden(slots),
            cache=empty_cache(model, slots, sizes.time + limit),
            keys=jnp.broadcast_to(key, (slots,)),
            request=zeros(slots) - 1,
            count=zeros(slots),
            done=jnp.ones((slots,), bool),
            ended=jnp.zeros((slots,), bool),
            tokens=zeros(slots, limit),
            log_probs=jnp.zeros((slots, limit), jnp.float32),
            seen=jnp.zeros((slots, sizes.vocabulary), bool),
            place=zeros(slots),
        ),
        Pool(
            hidden=hidden(prompts),
            cache=empty_cache(model, prompts, sizes.time),
            keys=jnp.broadcast_to(key, (prompts,)),
            tokens=zeros(prompts, sizes.time),
            numbers=zeros(prompts),
            next=zeros(sizes.parts),
            stop=zeros(sizes.parts),
        ),
        Finished(
            request=zeros(rows),
            tokens=zeros(rows, limit),
            log_probs=jnp.zeros((rows, limit), jnp.float32),
            lengths=zeros(rows),
            truncated=jnp.zeros((rows,), bool),
            count=zeros(sizes.parts),
        ),
    )


def state_specs(mesh: Mesh, state: State) -> State:
    """How each leaf is split: rows over the data-parallel axes, a cache's key heads over tensor where they divide."""

    def rows(leaf: Any) -> PartitionSpec:
        return meshes.partition(("batch",))

    def held(leaf: Any) -> PartitionSpec:
        heads = len(leaf.shape) == 4 and leaf.shape[1] % mesh.shape["tensor"] == 0
        return meshes.partition(("batch", "kv_heads") if heads else ("batch",))

    specs: State = jax.tree.map(rows, state)
    return replace(
        specs,
        slots=replace(specs.slots, cache=jax.tree.map(held, state.slots.cache)),
        pool=replace(specs.pool, cache=jax.tree.map(held, state.pool.cache)),
    )


def state_shardings(mesh: Mesh, state: State) -> State:
    """The sharding of each leaf."""
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), state_specs(mesh, state))
