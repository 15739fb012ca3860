"""Completions that grow by steps: beginnings lie in the engine's pool with their caches, and go on from there.

Each turn every beginning is written on in several ways. Those that are to be kept take the cache of the one that they
continue, into which only their newest step is read, so that nothing is read twice however long beginnings get.

Shapes: D parts, P beginnings, T the longest beginning with its prompt, W tokens that a beginning is longer, N new
tokens of a step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from reasoning.core import mesh as meshes
from reasoning.generation.engine import (
    SLOTS,
    Rollouts,
    SamplingProgram,
    completed,
    decode_shardings,
    no_rollouts,
    rounded,
    rows_multiple,
    sampling_program,
)
from reasoning.generation.reading import PIECES, READ_AT_ONCE
from reasoning.generation.sampler import SamplerSettings, common_settings, prompt_keys
from reasoning.generation.state import Asked, Page, Sizes, State, empty_state, state_shardings
from reasoning.generation.truncation import ALL_TOKENS, Truncation
from reasoning.generation.watching import GO_ON
from reasoning.models.cache import Cache, Weights
from reasoning.models.model import LanguageModel

_PIECE = 32
"""Tokens that are read at once of what a beginning is longer by, so that short steps aren't read as long ones."""

BEGINNINGS = "beginnings"
"""The scope of the loop over groups of beginnings that are read."""

NEW = -1
"""The parent of a beginning that is read from its first token."""


@dataclass(frozen=True)
class Turn:
    """What becomes of the beginnings of all processes: ``parents`` [P], of the same part, what follows behind each, and
    the identities [P] of their streams. One with nothing behind it isn't gone on with, and keeps nothing. Those of a
    part that are the same text, as all beams of a problem are at first, are read once.
    """

    parents: Sequence[int]
    behind: Sequence[Sequence[int]]
    ids: Sequence[int]


@dataclass(frozen=True)
class Growing:
    """A pool of ``rows_of_part`` beginnings in each of all processes' ``parts``, and what goes on with them.

    ``start(key)`` is the state before the first turn. ``go_on(weights, state, turn, key, temperature, truncation)``
    gives the next one, and the steps [P, samples, N] of all processes' beginnings; the state that it takes is gone.
    """

    rows_of_part: int
    parts: int
    start: Callable[[jax.Array], State]
    go_on: Callable[[Weights, State, Turn, jax.Array, float, Truncation | None], tuple[State, Rollouts]]


def _taken(tree: Any, number: jax.Array, sizes: Sizes) -> Any:
    """Group ``number`` of all parts, as rows."""

    def take(leaf: jax.Array) -> jax.Array:
        grouped = leaf.reshape(sizes.parts, -1, sizes.group, *leaf.shape[1:])
        return jax.lax.dynamic_index_in_dim(grouped, number, axis=1, keepdims=False).reshape(-1, *leaf.shape[1:])

    return jax.tree.map(take, tree)


def _put(tree: Any, new: Any, number: jax.Array, sizes: Sizes) -> Any:
    """All rows, with group ``number`` of all parts replaced."""

    def put(leaf: jax.Array, rows: jax.Array) -> jax.Array:
        grouped = leaf.reshape(sizes.parts, -1, sizes.group, *leaf.shape[1:])
        rows = rows.reshape(sizes.parts, sizes.group, *leaf.shape[1:])
        return jax.lax.dynamic_update_index_in_dim(grouped, rows, number, axis=1).reshape(leaf.shape)

    return jax.tree.map(put, tree, new)


def _picked(tree: Any, rows_P: jax.Array, parts: int) -> Any:
    """Of each part the rows with these numbers; any row where there is no number."""
    chosen = jnp.maximum(rows_P, 0).reshape(parts, -1)

    def pick(leaf: jax.Array) -> jax.Array:
        rows = leaf.reshape(parts, -1, *leaf.shape[1:])
        return jax.vmap(lambda one, at: one[at])(rows, chosen).reshape(leaf.shape)

    return jax.tree.map(pick, tree)


def _read(
    model: LanguageModel,
    sizes: Sizes,
    piece: int,
    weights: Weights,
    state: State,
    parents_P: jax.Array,
    behind_PW: jax.Array,
    lengths_P: jax.Array,
    read_P: jax.Array,
    ids_P: jax.Array,
    key: jax.Array,
    samples: jax.Array,
) -> State:
    """The state with a turn's beginnings in its pool, none of which is in a slot yet; rows are numbers in parts.

    What is read is what is different: of each part the first so many rows have something behind them, in what row
    ``parents`` of the pool holds. Beginning p lies in row ``read[p]`` of what was read, or is none (``NEW``).
    """
    parts, group, pool = sizes.parts, sizes.group, state.pool
    hidden_PD, cache = _picked((pool.hidden, pool.cache), parents_P, parts)
    cache = {**cache, "length": jnp.where(parents_P >= 0, cache["length"], 0)}

    def read_group(now: tuple[jax.Array, jax.Array, Cache]) -> tuple[jax.Array, jax.Array, Cache]:
        number, hidden_PD, cache = now
        tokens_GW, counts_G = _taken((behind_PW, lengths_P), number, sizes)

        def read_piece(now: tuple[jax.Array, jax.Array, Cache]) -> tuple[jax.Array, jax.Array, Cache]:
            start, hidden_GD, held = now
            some = jax.lax.dynamic_slice_in_dim(tokens_GW, start, piece, axis=1)
            left_G = jnp.clip(counts_G - start, 0, piece)
            new_GD, held = model.prefill(weights, some, left_G, held)
            return start + piece, jnp.where(left_G[:, None] > 0, new_GD, hidden_GD), held

        begun = (jnp.int32(0), *_taken((hidden_PD, cache), number, sizes))
        longest = jnp.max(counts_G)
        with jax.named_scope(PIECES):
            _, *new = jax.lax.while_loop(lambda now: now[0] < longest, read_piece, begun)
        return number + 1, *_put((hidden_PD, cache), tuple(new), number, sizes)

    counts_D = jnp.sum((lengths_P > 0).reshape(parts, -1), axis=1, dtype=jnp.int32)
    groups = jnp.max(-(-counts_D // group))
    with jax.named_scope(BEGINNINGS):
        begun = (jnp.int32(0), hidden_PD, cache)
        _, *read = jax.lax.while_loop(lambda now: now[0] < groups, read_group, begun)
    own_P = jnp.tile(jnp.arange(sizes.prompts), parts)
    shared = jnp.any((read_P >= 0) & (read_P != own_P))
    hidden_PD, cache = jax.lax.cond(shared, lambda tree: _picked(tree, read_P, parts), lambda tree: tree, tuple(read))
    begun_D = jnp.sum((read_P >= 0).reshape(parts, -1), axis=1, dtype=jnp.int32)
    numbers_P = own_P + jnp.repeat(_own_parts(sizes), sizes.prompts)
    pool = replace(
        pool,
        hidden=hidden_PD,
        cache=cache,
        keys=prompt_keys(key, ids_P),
        numbers=numbers_P.astype(jnp.int32),
        next=jnp.zeros_like(pool.next),
        stop=samples * begun_D,
    )
    return replace(state, pool=pool)


def _once(
    parents: Sequence[int], behind: Sequence[Sequence[int]], rows: int, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What ``_read`` reads of parts of so many ``rows``, and in which row of that each beginning lies."""
    parents_P, behind_PW = np.full(len(parents), NEW, np.int32), np.zeros((len(parents), width), np.int32)
    lengths_P, read_P = np.zeros(len(parents), np.int32), np.full(len(parents), NEW, np.int32)
    for part in range(0, len(parents), rows):
        known: dict[tuple[int, tuple[int, ...]], int] = {}
        for row in range(part, part + rows):
            if not behind[row]:
                continue
            text = parents[row], tuple(behind[row])
            if text not in known:
                at = part + len(known)
                known[text] = len(known)
                parents_P[at], lengths_P[at] = parents[row], len(behind[row])
                behind_PW[at, : len(behind[row])] = behind[row]
            read_P[row] = known[text]
    return parents_P, behind_PW, lengths_P, read_P


def _own_parts(sizes: Sizes) -> np.ndarray:
    """Where each part's rows begin among those of its own process."""
    own = max(1, sizes.parts // jax.process_count())
    return np.arange(sizes.parts) % own * sizes.prompts


def _asked(samples: int, temperature: float, truncation: Truncation | None) -> Asked:
    """What a turn asks of the engine's program, which goes on until all steps have ended."""
    rule = ALL_TOKENS if truncation is not None and temperature == 0 else truncation
    steps = jnp.int32(np.iinfo(np.int32).max)
    return Asked(jnp.int32(samples), jnp.float32(temperature), rule and rule.traced(), None, jnp.bool_(False), steps)


@dataclass(frozen=True)
class _GrowingPrograms:
    """What a pool of beginnings compiles: ``sampling``'s two programs, for arrays of ``sizes``, and ``read``.

    ``read(weights, state, parents, behind, lengths, read, ids, key, samples)`` takes up to ``width`` tokens of each,
    ``piece`` at once.
    """

    sizes: Sizes
    piece: int
    width: int
    sampling: SamplingProgram
    read: jax.stages.Wrapped


@lru_cache(16)
def growing_programs(
    model: LanguageModel, mesh: Mesh, settings: SamplerSettings, together: int, longest: int
) -> _GrowingPrograms:
    """The programs of ``build_growing``, whose arguments these are. Equal arguments give the same ones."""
    parts, samples, limit = meshes.data_parallel_size(mesh), settings.samples, settings.max_new_tokens
    slots = settings.slots or SLOTS
    rows = together * max(1, slots // together)
    most = max(settings.longest_prompt, limit)
    piece = min(_PIECE, limit)
    group = next(size for size in range(min(rows, READ_AT_ONCE // piece), 0, -1) if rows % size == 0)
    sizes = Sizes(
        parts=parts,
        slots=min(slots, rounded(rows * samples)),
        prompts=rows,
        group=group,
        time=longest + piece,
        ended=rows * samples,
    )
    places = state_shardings(mesh, jax.eval_shape(partial(empty_state, model, limit, sizes), jax.random.key(0)))
    split, whole = meshes.row_sharding(mesh), meshes.replicated(mesh)
    read = jax.jit(
        partial(_read, model, sizes, piece),
        in_shardings=(decode_shardings(model, mesh), places, *(split,) * 5, whole, whole),
        out_shardings=places,
        donate_argnums=1,
    )
    sampling = sampling_program(model, mesh, common_settings(settings), sizes)
    return _GrowingPrograms(sizes, piece, -(-most // piece) * piece, sampling, read)


@lru_cache(16)
def build_growing(model: LanguageModel, mesh: Mesh, settings: SamplerSettings, together: int, longest: int) -> Growing:
    """What goes on with beginnings in ``settings.samples`` ways, each up to ``settings.max_new_tokens`` more.

    ``together`` beginnings stand in one part, as few of such groups as keep the slots busy. ``settings.longest_prompt``
    is of what is read first, ``longest`` of a prompt with a beginning that is gone on with. Two programs beside the
    empty state. Equal arguments give the same one.
    """
    programs = growing_programs(model, mesh, settings, together, longest)
    sizes, width, program, read = programs.sizes, programs.width, programs.sampling, programs.read
    samples, limit, rows = settings.samples, settings.max_new_tokens, sizes.prompts
    own = rows_multiple(mesh) * rows
    first = jax.process_index() * own

    def go_on(
        weights: Weights,
        state: State,
        turn: Turn,
        key: jax.Array,
        temperature: float,
        truncation: Truncation | None,
    ) -> tuple[State, Rollouts]:
        mine = slice(first, first + own)
        once = _once(turn.parents[mine], turn.behind[mine], rows, width)
        arrays = meshes.to_global(mesh, (*once, np.asarray(turn.ids[mine], np.int32)))
        state = read(weights, state, *arrays, key, jnp.int32(samples))
        asked = _asked(samples, temperature, truncation)
        nothing = np.zeros(own, np.int32)
        page = Page(np.zeros((own, sizes.time), np.int32), nothing, nothing, nothing)
        kept = np.full(rows_multiple(mesh) * sizes.slots, GO_ON, np.int32)
        state, _ = program.sample(weights, state, *meshes.to_global(mesh, (page, kept)), key, asked)
        part, found = completed(state.finished, rows_multiple(mesh), samples), no_rollouts(own, samples, limit)
        for name in Rollouts.names():
            getattr(found, name)[part.prompts, part.samples] = getattr(part, name)
        return state, Rollouts(*(meshes.rows_of_all_processes(getattr(found, name)) for name in Rollouts.names()))

    return Growing(rows, sizes.parts, program.empty, go_on)
