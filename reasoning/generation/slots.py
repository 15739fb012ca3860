"""Slots that decode side by side and are refilled on the device: the loop that moves an engine's state on.

A page of prompts is read once into a pool; each of a prompt's samples starts in a free slot with a copy of what the
pool holds. A completion that ends leaves its slot for a row of the output, and the next request takes its place, within
one program.

Shapes: D parts, P prompts of a page, B slots, N new tokens, W model width, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from reasoning.core import mesh as meshes
from reasoning.generation.few_slots import head_product
from reasoning.generation.reading import read_prompts
from reasoning.generation.sampler import SamplerSettings, draw, prompt_keys
from reasoning.generation.shaping import placed, shaped
from reasoning.generation.state import Asked, Finished, Page, Pool, Sizes, Slots, State, state_specs
from reasoning.generation.watching import ended
from reasoning.models.cache import Cache, Weights
from reasoning.models.decoder import soft_capped
from reasoning.models.model import LanguageModel

READING, WRITING, FINISHING = "reading", "writing", "finishing"
"""Names of the loop that reads prompts, of the one that writes replies, and of that which writes the last few, in
profiles and in plans."""

_SHARE, _MANY, _LONG, _COPIED = 4, 16, 128, 2**28
"""On the CPU the last completions are decoded by themselves where they fit into a quarter of each device's slots, at
least 16 on all, and may have 128 tokens or more, by copies of their caches of at most 256 MiB. The loop of its own
takes seconds to compile, and accelerators, which read the same weights for a quarter of the slots, minutes."""


def _read(
    model: LanguageModel,
    sizes: Sizes,
    weights: Weights,
    page: Page,
    key: jax.Array,
    samples: jax.Array,
    pool: Pool,
) -> Pool:
    """The pool with a page of prompts in it, each read once, in as many groups as the fullest part has.

    A page without a prompt leaves it as it is.
    """
    parts, group = sizes.parts, sizes.group
    counts_D = jnp.sum((page.lengths > 0).reshape(parts, -1), axis=1, dtype=jnp.int32)

    def taken(tree: Any, number: jax.Array) -> Any:
        """Group ``number`` of all parts, as rows."""

        def take(leaf: jax.Array) -> jax.Array:
            grouped = leaf.reshape(parts, -1, group, *leaf.shape[1:])
            one = jax.lax.dynamic_index_in_dim(grouped, number, axis=1, keepdims=False)
            return one.reshape(-1, *leaf.shape[1:])

        return jax.tree.map(take, tree)

    def put(tree: Any, new: Any, number: jax.Array) -> Any:
        def one(leaf: jax.Array, rows: jax.Array) -> jax.Array:
            grouped = leaf.reshape(parts, -1, group, *leaf.shape[1:])
            rows = rows.reshape(parts, group, *leaf.shape[1:])
            return jax.lax.dynamic_update_index_in_dim(grouped, rows, number, axis=1).reshape(leaf.shape)

        return jax.tree.map(one, tree, new)

    def read(now: tuple[jax.Array, jax.Array, Cache]) -> tuple[jax.Array, jax.Array, Cache]:
        number, hidden_PW, cache = now
        tokens, lengths = taken((page.tokens, page.lengths), number)
        new = read_prompts(model, weights, tokens, lengths, sizes.time)
        return number + 1, *put((hidden_PW, cache), new, number)

    groups = jnp.max(-(-counts_D // group))
    with jax.named_scope(READING):
        _, hidden_PW, cache = jax.lax.while_loop(
            lambda now: now[0] < groups, read, (jnp.int32(0), pool.hidden, pool.cache)
        )
    new = {
        "keys": prompt_keys(key, jnp.asarray(page.ids)),
        "tokens": page.tokens,
        "numbers": page.numbers,
        "next": jnp.zeros_like(pool.next),
        "stop": samples * counts_D,
    }
    kept = {name: jnp.where(groups > 0, value, getattr(pool, name)) for name, value in new.items()}
    return Pool(hidden=hidden_PW, cache=cache, **kept)


def _put(into: Any, one: Any, row: jax.Array) -> Any:
    """Leaves with one row replaced, in place; what a row of ``one`` is shorter along its axes stays."""

    def put(leaf: jax.Array, new: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice(leaf, new[None], (row,) + (0,) * (leaf.ndim - 1))

    return jax.tree.map(put, into, one)


def _row(tree: Any, row: jax.Array) -> Any:
    return jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, row, keepdims=False), tree)


def _kept(finished: Finished, slots: Slots, slot: jax.Array) -> Finished:
    """The outputs with the completion of a slot that is done; of a free slot nothing, into the row for trash."""
    said = slots.request[slot] >= 0
    row = jnp.where(said, finished.count[0], finished.request.shape[0] - 1)
    tokens_N, log_probs_N, count = _row((slots.tokens, slots.log_probs, slots.count), slot)
    inside_N = jnp.arange(tokens_N.shape[0]) < count
    new = {
        "request": slots.request[slot],
        "tokens": jnp.where(inside_N, tokens_N, 0),
        "log_probs": jnp.where(inside_N, log_probs_N, 0.0),
        "lengths": count,
        "truncated": ~slots.ended[slot],
    }
    rows = {name: _put(getattr(finished, name), value, row) for name, value in new.items()}
    return replace(finished, **rows, count=finished.count + said)


def _started(slots: Slots, pool: Pool, samples: jax.Array, slot: jax.Array) -> tuple[Slots, Pool]:
    """The next request of the pool in a slot, or, where there is none, the slot free."""
    taken = pool.next[0] < pool.stop[0]
    prompt, place = jnp.divmod(jnp.where(taken, pool.next[0], 0), samples)
    hidden_W, cache, key, number = _row((pool.hidden, pool.cache, pool.keys, pool.numbers), prompt)
    length = jnp.where(taken, cache["length"], 0)
    cache, read_T = {**cache, "length": length}, jnp.arange(pool.tokens.shape[1]) < length
    # Padding counts for no token: its place is beyond the vocabulary, where nothing is written.
    vocabulary = slots.seen.shape[1]
    said_T = jnp.where(read_T, _row(pool.tokens, prompt), vocabulary)
    seen_V = jnp.zeros((vocabulary,), bool).at[said_T].set(True, mode="drop")
    return replace(
        slots,
        hidden=_put(slots.hidden, hidden_W, slot),
        cache=_put(slots.cache, cache, slot),
        keys=slots.keys.at[slot].set(jax.random.fold_in(key, place)),
        request=slots.request.at[slot].set(jnp.where(taken, number * samples + place, -1)),
        count=slots.count.at[slot].set(0),
        done=slots.done.at[slot].set(~taken),
        seen=_put(slots.seen, seen_V, slot),
        place=slots.place.at[slot].set(0),
    ), replace(pool, next=pool.next + taken)


def _refill(state: State, samples: jax.Array) -> State:
    """One part's slots without completions that are done, and as full as its requests suffice; runs on its device."""

    def idle(now: State) -> jax.Array:
        return now.slots.done & ((now.slots.request >= 0) | (now.pool.next < now.pool.stop))

    # One slot after another, so that the cost is that of the slots that change hands: mostly none.
    def one(now: State) -> State:
        slot = jnp.argmax(idle(now))
        finished = _kept(now.finished, now.slots, slot)
        slots, pool = _started(now.slots, now.pool, samples, slot)
        return State(slots, pool, finished)

    return jax.lax.while_loop(lambda now: jnp.any(idle(now)), one, state)


def _advance(
    model: LanguageModel,
    head: Callable[[jax.Array], jax.Array],
    settings: SamplerSettings,
    weights: Weights,
    asked: Asked,
    slots: Slots,
) -> Slots:
    """One token more in every slot that isn't done."""
    logits_BV = soft_capped(head(slots.hidden), model.soft_cap)
    if asked.shaping is not None:
        logits_BV = shaped(logits_BV, slots.seen, slots.place, asked.shaping)
    chosen_B, log_prob_B = draw(logits_BV, slots.keys, slots.count, asked.temperature, asked.truncation)
    # All slots take the same step, so those that are done go on as token 0: nobody reads what they give.
    chosen_B = jnp.where(slots.done, 0, chosen_B)
    hidden_BW, cache = model.decode(weights, chosen_B, slots.cache)
    ended_B = jnp.isin(chosen_B, jnp.asarray(settings.end_ids, jnp.int32)) & ~slots.done
    count_B = slots.count + ~slots.done
    write = jax.vmap(lambda row_N, new, place: jax.lax.dynamic_update_index_in_dim(row_N, new, place, 0))
    return replace(
        slots,
        hidden=hidden_BW,
        # A free slot's cache stays empty, so that it never is the longest.
        cache={**cache, "length": jnp.where(slots.done, 0, cache["length"])},
        count=count_B,
        done=slots.done | ended_B | (count_B == settings.max_new_tokens),
        ended=jnp.where(slots.done, slots.ended, ended_B),
        tokens=write(slots.tokens, chosen_B, slots.count),
        log_probs=write(slots.log_probs, log_prob_B, slots.count),
        seen=slots.seen | (chosen_B[:, None] == jnp.arange(slots.seen.shape[1])),
        place=jnp.where(slots.done, slots.place, placed(slots.place, chosen_B, asked.shaping)),
    )


def _few(mesh: Mesh, slots: Slots, each: int) -> int:
    """How many of a part's ``each`` slots are decoded by themselves once the others have nothing more to do.

    A share of them, where that is worth a loop of its own; else 0.
    """
    few = each // _SHARE
    copied = few * sum(leaf.nbytes // leaf.shape[0] for leaf in jax.tree.leaves(slots.cache))
    slow = meshes.on_cpu(mesh) and len(slots.tokens) >= _MANY
    return few if slow and slots.tokens.shape[1] >= _LONG and copied <= _COPIED else 0


def _going_first(slots: Slots, few: int) -> tuple[Slots, jax.Array]:
    """``few`` slots of one part, those that go on before others, and their places."""
    places = jnp.argsort(slots.done, stable=True)[:few]
    return jax.tree.map(lambda leaf: leaf[places], slots), places


def _put_back(slots: Slots, few: Slots, places: jax.Array) -> Slots:
    """One part's slots with those of ``_going_first`` as they have become."""
    return jax.tree.map(lambda leaf, rows: leaf.at[places].set(rows), slots, few)


@dataclass(frozen=True)
class _PartPrograms:
    """``_refill``, ``_going_first`` of so many and ``_put_back``, each on a device's own slots."""

    refill: Callable[[State, jax.Array], State]
    going_first: Callable[[Slots], tuple[Slots, jax.Array]]
    put_back: Callable[[Slots, Slots, jax.Array], Slots]


def _programs_of_parts(mesh: Mesh, state: State, few: int) -> _PartPrograms:
    """The programs for slots that are split over ``mesh`` as those of ``state`` are, moving nothing between devices."""
    going_first = partial(_going_first, few=few)
    if mesh.size == 1:
        return _PartPrograms(_refill, going_first, _put_back)
    specs, rows = state_specs(mesh, state), meshes.partition(("batch",))
    on_parts = partial(jax.shard_map, mesh=mesh, check_vma=False)
    return _PartPrograms(
        on_parts(_refill, in_specs=(specs, PartitionSpec()), out_specs=specs),
        on_parts(going_first, in_specs=(specs.slots,), out_specs=(specs.slots, rows)),
        on_parts(_put_back, in_specs=(specs.slots, specs.slots, rows), out_specs=specs.slots),
    )


def sample(
    model: LanguageModel,
    mesh: Mesh,
    settings: SamplerSettings,
    sizes: Sizes,
    weights: Weights,
    state: State,
    page: Page,
    kept_B: jax.Array,
    key: jax.Array,
    asked: Asked,
) -> tuple[State, jax.Array]:
    """Reads a page of prompts, and decodes until all completions have ended, or, with ``more`` pages, until slots idle.

    What is still in slots then goes on with the next page. The outputs of the call before are written over. ``kept_B``
    is what a look has made of the slots (``watching.ended``). The last few completions are decoded without the slots
    that have nothing more to do. Beside the state whether the page is over: not where ``steps`` were too few.
    """
    few = _few(mesh, state.slots, sizes.slots)
    parts, head = _programs_of_parts(mesh, state, few), head_product(model, mesh, weights)

    def drained(now: State) -> jax.Array:
        return jnp.all(now.pool.next >= now.pool.stop)

    def over(now: State) -> jax.Array:
        return jnp.all(now.slots.done) | (asked.more & drained(now) & jnp.any(now.slots.done))

    def few_left(now: State) -> jax.Array:
        live_D = jnp.sum(~now.slots.done.reshape(sizes.parts, -1), axis=1)
        return ~asked.more & drained(now) & jnp.all(live_D <= few)

    def step(now: tuple[jax.Array, State]) -> tuple[jax.Array, State]:
        slots = _advance(model, head, settings, weights, asked, now[1].slots)
        return now[0] + 1, parts.refill(replace(now[1], slots=slots), asked.samples)

    def going(now: tuple[jax.Array, State]) -> jax.Array:
        return ~over(now[1]) & (now[0] < asked.steps)

    pool = _read(model, sizes, weights, page, key, asked.samples, state.pool)
    finished = replace(state.finished, count=jnp.zeros_like(state.finished.count))
    begun = parts.refill(State(ended(state.slots, kept_B), pool, finished), asked.samples)
    with jax.named_scope(WRITING):
        count, state = jax.lax.while_loop(lambda now: going(now) & ~few_left(now[1]), step, (jnp.int32(0), begun))
    if few:
        last = few_left(state)
        slots, places = parts.going_first(state.slots)
        with jax.named_scope(FINISHING):
            _, ending = jax.lax.while_loop(lambda now: last & going(now), step, (count, replace(state, slots=slots)))
        state = replace(ending, slots=parts.put_back(state.slots, ending.slots, places))
    return state, over(state)
