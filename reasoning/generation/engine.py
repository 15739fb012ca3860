"""The rollout engine: owns its weights, takes prompts of any length, and gives completions as numpy rows.

Shapes: P prompts of this process, G samples a prompt, T prompt time, N new tokens.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache, partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from reasoning.core import mesh as meshes
from reasoning.generation.few_slots import compiler_options
from reasoning.generation.padding import prompt_time, shapes_of
from reasoning.generation.reading import READ_AT_ONCE
from reasoning.generation.sampler import SamplerSettings, common_settings
from reasoning.generation.shaping import Shaping
from reasoning.generation.slots import sample
from reasoning.generation.state import Asked, Finished, Page, Sizes, empty_state, state_shardings
from reasoning.generation.truncation import ALL_TOKENS, Truncation
from reasoning.generation.watching import GO_ON, Watch, Writing, kept_by, looked
from reasoning.models.cache import Weights
from reasoning.models.model import LanguageModel
from reasoning.models.parameters import Params

SLOTS = 64
"""Completions that a device decodes side by side where nobody says."""

_TIMES = 8
"""How often the requests of one page fill all slots, at most: the host is asked for the next so seldom."""

_POOL = 2048
"""Tokens of prompts that a device keeps room for at least, up to a prompt a slot: few requests and many are then the
same program, for a cache that is small beside the slots' own."""

_UNWATCHED = np.iinfo(np.int32).max
"""Tokens that are written in a slot before a host looks that doesn't want to."""


@dataclass(frozen=True)
class Rollouts:
    """Completions of this process's prompts, [P, G, …]; tokens beyond a completion's length are 0."""

    tokens: np.ndarray
    log_probs: np.ndarray
    lengths: np.ndarray
    truncated: np.ndarray

    @staticmethod
    def names() -> tuple[str, ...]:
        """The arrays' names, in order."""
        return tuple(field.name for field in fields(Rollouts))


class Generate(Protocol):
    """Completions of this process's prompts; see ``Engine``."""

    def __call__(
        self,
        weights: Weights,
        prompts: Sequence[Sequence[int]],
        ids: Sequence[int],
        key: jax.Array,
        temperature: float,
        *,
        rows: int = 0,
        truncation: Truncation | None = None,
        shaping: Shaping | None = None,
        watch: Watch | None = None,
    ) -> Rollouts: ...


@dataclass(frozen=True)
class Engine:
    """Generation on one mesh.

    ``publish(params)`` casts and reshards the trainer's weights once, by the engine's own rules: gathered over fsdp,
    split over tensor. ``generate(weights, prompts, ids, key, temperature)`` samples each prompt of this process; what
    a request gets depends on (key, its id, its number in the group) only. Programs are made for ``rows`` prompts at
    least, so that a last, shorter batch is no program of its own. ``truncation`` says which tokens may be drawn (None:
    all); temperature 0 takes the likeliest whatever it says. ``shaping`` changes logits before (None: it doesn't).
    Log-probabilities are those of the distribution that is drawn from. A ``watch`` looks at what is being written.
    """

    publish: Callable[[Params], Weights]
    generate: Generate


def decode_shardings(model: LanguageModel, mesh: Mesh) -> Weights:
    """Where decoding weights live: as the parameters do, but with shards gathered, so that no token gathers them."""

    def whole(axes: PartitionSpec) -> NamedSharding:
        return meshes.sharding(mesh, meshes.gathered(tuple(axes)))

    def placed(value: Any, axes: Any) -> Any:
        if isinstance(value, tuple):  # unstacked layers
            return tuple(jax.tree.map(lambda one: meshes.of_one_layer(whole(one)), axes) for _ in value)
        if isinstance(value, dict):
            return {name: placed(inner, axes[name]) for name, inner in value.items()}
        return whole(axes)

    return placed(jax.eval_shape(model.publish, model.shapes), model.axes)


def rows_multiple(mesh: Mesh) -> int:
    """What the number of this process's rows must be a multiple of: its data-parallel devices."""
    return max(1, meshes.data_parallel_size(mesh) // jax.process_count())


def rounded(count: int) -> int:
    """The next power of two, or one and a half of it, so that few numbers of slots are programs of their own."""
    whole = 1 << (max(count, 1) - 1).bit_length()
    return whole * 3 // 4 if whole >= 4 and count <= whole * 3 // 4 else whole


def sizes_of(settings: SamplerSettings, mesh: Mesh, prompts: int, time: int) -> Sizes:
    """The arrays that serve so many prompts of each process: as many slots as there are requests, up to a number.

    Nearly the same for any number of samples, so that an exam's greedy replies and its samples share one program.
    """
    share, samples = -(-max(prompts, 1) // rows_multiple(mesh)), settings.samples
    slots = min(settings.slots or SLOTS, rounded(share * samples))
    held = min(max(rounded(share), _POOL // time), slots)
    group = min(held, max(1, READ_AT_ONCE // time))
    return Sizes(
        parts=meshes.data_parallel_size(mesh),
        slots=slots,
        prompts=-(-held // group) * group,
        group=group,
        time=time,
        # What the page before left in slots, and what a page asks for.
        ended=slots + max(_TIMES * slots, rounded(samples)),
    )


@dataclass(frozen=True)
class SamplingProgram:
    """What an engine compiles: ``empty(key) -> State``, and ``sample``, that of ``slots`` without what is static.

    ``sample`` is one program for all truncations, and another one for None.
    """

    empty: jax.stages.Wrapped
    sample: jax.stages.Wrapped


@lru_cache(64)
def sampling_program(model: LanguageModel, mesh: Mesh, settings: SamplerSettings, sizes: Sizes) -> SamplingProgram:
    """The two programs for arrays of ``sizes`` on ``mesh``."""
    split, whole = meshes.row_sharding(mesh), meshes.replicated(mesh)
    empty = partial(empty_state, model, settings.max_new_tokens, sizes)
    shapes = jax.eval_shape(empty, jax.eval_shape(lambda: jax.random.key(0)))
    places = state_shardings(mesh, shapes)
    return SamplingProgram(
        jax.jit(empty, out_shardings=places),
        jax.jit(
            partial(sample, model, mesh, settings, sizes),
            in_shardings=(decode_shardings(model, mesh), places, split, split, whole, whole),
            out_shardings=(places, whole),
            donate_argnums=1,
            compiler_options=compiler_options(mesh, sizes.slots, shapes.slots.hidden.dtype),
        ),
    )


@dataclass(frozen=True)
class _Completed:
    """Completions as they ended: the prompts' places among those asked, numbers in their groups, and rows of each."""

    prompts: np.ndarray
    samples: np.ndarray
    tokens: np.ndarray
    log_probs: np.ndarray
    lengths: np.ndarray
    truncated: np.ndarray


def _pages(
    prompts: Sequence[Sequence[int]], ids: Sequence[int], samples: int, sizes: Sizes, parts: int
) -> Iterator[tuple[Page, bool]]:
    """This process's prompts, as many a page as its ``parts`` have room for, dealt out to them in turn.

    With each page whether more follow.
    """
    each = parts * max(1, min(sizes.prompts, _TIMES * sizes.slots // samples))
    pages = meshes.largest_of_all_processes(max(1, -(-len(prompts) // each)))
    for first in range(0, pages * each, each):
        tokens = np.zeros((parts * sizes.prompts, sizes.time), np.int32)
        lengths, names, numbers = np.zeros((3, parts * sizes.prompts), np.int32)
        for place, number in enumerate(range(first, min(first + each, len(prompts)))):
            row, prompt = place % parts * sizes.prompts + place // parts, prompts[number]
            tokens[row, : len(prompt)], lengths[row] = prompt, len(prompt)
            names[row], numbers[row] = ids[number], number
        yield Page(tokens, lengths, names, numbers), first + each < pages * each


def completed(finished: Finished, parts: int, samples: int) -> _Completed:
    """This process's completions that have ended, as copies, since the state that holds them is donated."""
    counts = meshes.local_rows(finished.count)

    def rows(array: jax.Array) -> np.ndarray:
        each = np.split(meshes.local_rows(array), parts)
        return np.concatenate([part[:count] for part, count in zip(each, counts, strict=True)])

    prompts, numbers = np.divmod(rows(finished.request), samples)
    return _Completed(prompts, numbers, *(rows(getattr(finished, name)) for name in Rollouts.names()))


def no_rollouts(prompts: int, samples: int, limit: int) -> Rollouts:
    """Arrays for so many completions."""
    tokens, lengths = np.zeros((prompts, samples, limit), np.int32), np.zeros((prompts, samples), np.int32)
    return Rollouts(tokens, tokens.astype(np.float32), lengths, lengths.astype(bool))


def _shortened(rollouts: Rollouts, watch: Watch) -> Rollouts:
    """Completions without what lies behind the place where ``watch`` would have ended them."""
    prompts, samples = np.indices(rollouts.lengths.shape).reshape(2, -1)
    pairs = zip(prompts, samples, strict=True)
    texts = [rollouts.tokens[pair][: rollouts.lengths[pair]].tolist() for pair in pairs]
    kept = kept_by(watch, Writing(prompts, samples, texts)).reshape(rollouts.lengths.shape)
    lengths = np.where(kept >= 0, kept, rollouts.lengths)
    inside = np.arange(rollouts.tokens.shape[-1]) < lengths[..., None]
    return Rollouts(
        np.where(inside, rollouts.tokens, 0),
        np.where(inside, rollouts.log_probs, 0),
        lengths,
        rollouts.truncated & (kept < 0),
    )


@lru_cache(32)
def _publisher(model: LanguageModel, mesh: Mesh) -> Callable[[Params], Weights]:
    def publish(params: Params) -> Weights:
        # Copies, since jit would hand back the very buffers of leaves it doesn't change, and a step may donate those.
        return jax.tree.map(jnp.copy, model.publish(params))

    return jax.jit(publish, out_shardings=decode_shardings(model, mesh))


@lru_cache(32)
def build_engine(model: LanguageModel, mesh: Mesh, settings: SamplerSettings) -> Engine:
    """The engine of ``model`` on ``mesh``; two programs are compiled a padded length and number of slots.

    Equal arguments give the same engine, so that stages share what is compiled; so do those that differ in their
    number of samples alone, where the numbers of slots are the same.
    """
    shapes = shapes_of(settings, model)
    parts, samples, limit = rows_multiple(mesh), settings.samples, settings.max_new_tokens
    static = common_settings(settings)

    def stream(
        weights: Weights,
        prompts: Sequence[Sequence[int]],
        ids: Sequence[int],
        key: jax.Array,
        asked: Asked,
        sizes: Sizes,
        watch: Watch | None,
    ) -> Iterator[_Completed]:
        program = sampling_program(model, mesh, static, sizes)
        state, kept = program.empty(key), np.full(parts * sizes.slots, GO_ON, np.int32)
        for page, more in _pages(prompts, ids, samples, sizes, parts):
            asked, over = replace(asked, more=jnp.bool_(more)), False
            while not over:
                arrays = meshes.to_global(mesh, (page, kept))
                state, ended = program.sample(weights, state, *arrays, key, asked)
                yield completed(state.finished, parts, samples)
                over = bool(ended)
                if watch is not None:
                    kept = looked(watch, state.slots, samples)
                page = replace(page, lengths=np.zeros_like(page.lengths))

    def generate(
        weights: Weights,
        prompts: Sequence[Sequence[int]],
        ids: Sequence[int],
        key: jax.Array,
        temperature: float,
        *,
        rows: int = 0,
        truncation: Truncation | None = None,
        shaping: Shaping | None = None,
        watch: Watch | None = None,
    ) -> Rollouts:
        most = meshes.largest_of_all_processes(max(len(prompts), rows))
        sizes, change = sizes_of(settings, mesh, most, prompt_time(prompts, shapes)), None
        if shaping is not None:
            vocabulary = jax.eval_shape(model.unembedding, weights).shape[1]
            sizes, change = replace(sizes, vocabulary=vocabulary), shaping.traced(vocabulary)
        # At temperature 0 all may be drawn, by the program that samples: an exam asks in both ways.
        rule = ALL_TOKENS if truncation is not None and temperature == 0 else truncation
        steps = jnp.int32(_UNWATCHED if watch is None else watch.every)
        heat, more = jnp.float32(temperature), jnp.bool_(False)
        asked = Asked(jnp.int32(samples), heat, rule and rule.traced(), change, more, steps)
        rollouts = no_rollouts(len(prompts), samples, limit)
        for part in stream(weights, prompts, ids, key, asked, sizes, watch):
            for name in Rollouts.names():
                getattr(rollouts, name)[part.prompts, part.samples] = getattr(part, name)
            if watch is not None and len(part.prompts):
                pairs = zip(part.tokens, part.lengths, strict=True)
                watch.over(Writing(part.prompts, part.samples, [row[:length].tolist() for row, length in pairs]))
        return rollouts if watch is None else _shortened(rollouts, watch)

    return Engine(_publisher(model, mesh), generate)
