"""The rollout engine: owns its weights, takes prompts of any length, and gives completions as numpy rows.

Shapes: P prompts of this process, G samples a prompt, T prompt time, N new tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from reasoning.core import mesh as meshes
from reasoning.core.buckets import padded_length
from reasoning.core.errors import InputError
from reasoning.generation.sampler import Completions, SamplerSettings, sample
from reasoning.generation.truncation import Truncation
from reasoning.models.cache import Weights
from reasoning.models.model import LanguageModel, parameter_shardings
from reasoning.models.parameters import Params


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
    ) -> Rollouts: ...


@dataclass(frozen=True)
class Engine:
    """Generation on one mesh.

    ``publish(params)`` casts and reshards the trainer's weights once, by the engine's own rules: gathered over fsdp,
    split over tensor. ``generate(weights, prompts, ids, key, temperature)`` samples each prompt of this process; what
    a request gets depends on (key, its id, its number in the group) only. At least ``rows`` rows are computed, so that
    a last, shorter batch is no program of its own; those beyond the prompts are done from the start. ``truncation``
    says which tokens may be drawn (None: all); temperature 0 takes the likeliest whatever it says.
    """

    publish: Callable[[Params], Weights]
    generate: Generate


def decode_shardings(model: LanguageModel, mesh: Mesh) -> Weights:
    """Where decoding weights live: as the parameters do, but whole along fsdp, so that no token gathers them."""

    def whole(place: NamedSharding) -> NamedSharding:
        return meshes.whole_along(place, "fsdp")

    def placed(value: Any, place: Any) -> Any:
        if isinstance(value, tuple):  # unstacked layers
            return tuple(jax.tree.map(lambda one: meshes.of_one_layer(whole(one)), place) for _ in value)
        if isinstance(value, dict):
            return {name: placed(inner, place[name]) for name, inner in value.items()}
        return whole(place)

    return placed(jax.eval_shape(model.publish, model.shapes), parameter_shardings(model, mesh))


@dataclass(frozen=True)
class PromptShapes:
    """What prompts are padded to: ``lengths`` as ``core.buckets`` takes them, and a ``multiple`` of rows.

    ``room`` is how many tokens follow a prompt in the model's ``context``.
    """

    lengths: tuple[int, ...]
    multiple: int
    context: int
    room: int


def padded(prompts: Sequence[Sequence[int]], rows: int, shapes: PromptShapes) -> tuple[np.ndarray, np.ndarray]:
    """Prompts [P, T] padded on the right, and their lengths [P]; rows that only fill up, to ``rows`` at least, have 0.

    InputError where a prompt is empty or leaves no room in the model's context.
    """
    context, room = shapes.context, shapes.room
    longest = meshes.largest_of_all_processes(max((len(prompt) for prompt in prompts), default=0))
    if any(not prompt for prompt in prompts):
        raise InputError("a prompt is empty; every prompt needs at least one token")
    if longest + room > context:
        raise InputError(
            f"a prompt of {longest} tokens and {room} new ones exceed the model's context of {context}; shorten the "
            f"prompts, lower max_new_tokens, or raise the model's context"
        )
    time = padded_length(longest, shapes.lengths, context - room)
    rows = -(-max(len(prompts), rows) // shapes.multiple) * shapes.multiple
    tokens, lengths = np.zeros((rows, time), np.int32), np.zeros((rows,), np.int32)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)], lengths[row] = prompt, len(prompt)
    return tokens, lengths


def rows_multiple(mesh: Mesh) -> int:
    """What the number of this process's rows must be a multiple of."""
    return max(1, meshes.data_parallel_size(mesh) // jax.process_count())


def sampling_program(model: LanguageModel, mesh: Mesh, settings: SamplerSettings) -> jax.stages.Wrapped:
    """The jitted ``sample(weights, prompts, lengths, ids, key, temperature, truncation) -> Completions`` on ``mesh``.

    It is one program for all truncations, and another one for None.
    """
    # Prompts come split by rows over the data-parallel devices, and completions leave so; the key is whole everywhere.
    split, whole = meshes.row_sharding(mesh), meshes.replicated(mesh)
    return jax.jit(
        partial(sample, model, settings),
        in_shardings=(decode_shardings(model, mesh), split, split, split, whole, whole, whole),
        out_shardings=split,
    )


@lru_cache(32)
def build_engine(model: LanguageModel, mesh: Mesh, settings: SamplerSettings) -> Engine:
    """The engine of ``model`` on ``mesh``; one program is compiled a bucket of prompt lengths and number of rows.

    Equal arguments give the same engine, so that stages share what is compiled.
    """
    weights_place = decode_shardings(model, mesh)
    run: Callable[..., Completions] = sampling_program(model, mesh, settings)
    shapes = PromptShapes(settings.lengths, rows_multiple(mesh), model.context, settings.max_new_tokens)

    def generate(
        weights: Weights,
        prompts: Sequence[Sequence[int]],
        ids: Sequence[int],
        key: jax.Array,
        temperature: float,
        *,
        rows: int = 0,
        truncation: Truncation | None = None,
    ) -> Rollouts:
        tokens, lengths = padded(prompts, rows, shapes)
        numbers = np.zeros(len(lengths), np.int32)
        numbers[: len(ids)] = ids
        arguments = meshes.to_global(mesh, (tokens, lengths, numbers))
        allowed = truncation.traced() if truncation is not None and temperature > 0 else None
        completions = run(weights, *arguments, key, jnp.float32(temperature), allowed)
        kept = len(prompts) * settings.samples

        def local(array: jax.Array) -> np.ndarray:
            rows = meshes.local_rows(array)[:kept]
            return rows.reshape(len(prompts), settings.samples, *rows.shape[1:])

        return Rollouts(*(local(getattr(completions, name)) for name in Rollouts.names()))

    def publish(params: Params) -> Weights:
        # Copies, since jit would hand back the very buffers of leaves it doesn't change, and a step may donate those.
        return jax.tree.map(jnp.copy, model.publish(params))

    return Engine(jax.jit(publish, out_shardings=weights_place), generate)
