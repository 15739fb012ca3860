"""The rollout engine: owns its weights, takes prompts of any length, and gives completions as numpy rows.

Shapes: P prompts of this process, G samples a prompt, T prompt time, N new tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from reasoning.core import mesh as meshes
from reasoning.core.errors import InputError
from reasoning.generation.sampler import Completions, SamplerSettings, sample
from reasoning.models.cache import Weights
from reasoning.models.model import LanguageModel, parameter_shardings
from reasoning.models.parameters import Params

_PROMPT_BUCKET = 16


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


Generate = Callable[[Weights, Sequence[Sequence[int]], Sequence[int], jax.Array, float], Rollouts]
"""``generate(weights, prompts, ids, key, temperature)``: completions of this process's prompts."""


@dataclass(frozen=True)
class Engine:
    """Generation on one mesh.

    ``publish(params)`` casts and reshards the trainer's weights once, by the engine's own rules: gathered over fsdp,
    split over tensor. ``generate(weights, prompts, ids, key, temperature)`` samples each prompt of this process; what
    a request gets depends on (key, its id, its number in the group) only.
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


def padded(prompts: Sequence[Sequence[int]], multiple: int, context: int, room: int) -> tuple[np.ndarray, np.ndarray]:
    """Prompts [P, T] padded on the right to a bucket of lengths, and to a number of rows the devices divide.

    InputError where a prompt is empty or leaves no room in the model's context.
    """
    longest = meshes.largest_of_all_processes(max((len(prompt) for prompt in prompts), default=0))
    if any(not prompt for prompt in prompts):
        raise InputError("a prompt is empty; every prompt needs at least one token")
    if longest + room > context:
        raise InputError(
            f"a prompt of {longest} tokens and {room} new ones exceed the model's context of {context}; shorten the "
            f"prompts, lower max_new_tokens, or raise the model's context"
        )
    # Each length is a program of its own to compile, so lengths are rounded up, but not beyond what the context leaves.
    time = min(-(-longest // _PROMPT_BUCKET) * _PROMPT_BUCKET, context - room)
    rows = -(-len(prompts) // multiple) * multiple
    tokens, lengths = np.zeros((rows, time), np.int32), np.ones((rows,), np.int32)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)], lengths[row] = prompt, len(prompt)
    return tokens, lengths


def sampling_program(model: LanguageModel, mesh: Mesh, settings: SamplerSettings) -> jax.stages.Wrapped:
    """The jitted ``sample(weights, prompts, lengths, ids, key, temperature) -> Completions`` on ``mesh``."""
    # Prompts come split by rows over the data-parallel devices, and completions leave so; the key is whole everywhere.
    split, whole = meshes.row_sharding(mesh), meshes.replicated(mesh)
    return jax.jit(
        partial(sample, model, settings),
        in_shardings=(decode_shardings(model, mesh), split, split, split, whole, whole),
        out_shardings=split,
    )


@lru_cache(32)
def build_engine(model: LanguageModel, mesh: Mesh, settings: SamplerSettings) -> Engine:
    """The engine of ``model`` on ``mesh``; one program is compiled a bucket of prompt lengths and number of rows.

    Equal arguments give the same engine, so that stages share what is compiled.
    """
    weights_place = decode_shardings(model, mesh)
    run: Callable[..., Completions] = sampling_program(model, mesh, settings)
    multiple = max(1, meshes.data_parallel_size(mesh) // jax.process_count())

    def generate(
        weights: Weights, prompts: Sequence[Sequence[int]], ids: Sequence[int], key: jax.Array, temperature: float
    ) -> Rollouts:
        tokens, lengths = padded(prompts, multiple, model.context, settings.max_new_tokens)
        numbers = np.zeros(len(lengths), np.int32)
        numbers[: len(ids)] = ids
        arguments = meshes.to_global(mesh, (tokens, lengths, numbers))
        completions = run(weights, *arguments, key, jnp.float32(temperature))
        kept = len(prompts) * settings.samples

        def local(array: jax.Array) -> np.ndarray:
            rows = meshes.local_rows(array)[:kept]
            return rows.reshape(len(prompts), settings.samples, *rows.shape[1:])

        return Rollouts(*(local(getattr(completions, name)) for name in Rollouts.names()))

    def publish(params: Params) -> Weights:
        # Copies, since jit would hand back the very buffers of leaves it doesn't change, and a step may donate those.
        return jax.tree.map(jnp.copy, model.publish(params))

    return Engine(jax.jit(publish, out_shardings=weights_place), generate)
