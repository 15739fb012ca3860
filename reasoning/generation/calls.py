"""What an engine will be called with, told before there are weights or prompts."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from reasoning.core import mesh as meshes
from reasoning.core.program import Program
from reasoning.generation.beam import SEARCHING, BeamSettings, search_program
from reasoning.generation.engine import SamplingProgram, decode_shardings, rows_multiple, sampling_program, sizes_of
from reasoning.generation.growing import BEGINNINGS, growing_programs
from reasoning.generation.padding import shapes_of
from reasoning.generation.reading import PIECES, READ_AT_ONCE
from reasoning.generation.sampler import SamplerSettings, common_settings
from reasoning.generation.shaping import Shaping
from reasoning.generation.slots import FINISHING, READING, WRITING
from reasoning.generation.state import Asked, Page, Sizes, state_shardings
from reasoning.generation.truncation import Truncation
from reasoning.models.cache import Weights
from reasoning.models.flops import forward_flops
from reasoning.models.model import LanguageModel, Model


def weight_shapes(model: LanguageModel, mesh: Mesh) -> Weights:
    """The shapes of an engine's weights, where they live."""
    return meshes.with_shardings(jax.eval_shape(model.publish, model.shapes), decode_shardings(model, mesh))


def sampling_call(
    model: LanguageModel,
    mesh: Mesh,
    settings: SamplerSettings,
    prompts: int,
    length: int,
    truncation: Truncation | None = None,
    shaping: Shaping | None = None,
) -> tuple[jax.stages.Wrapped, tuple[Any, ...]]:
    """The engine's very program for ``prompts`` prompts of each process, padded to ``length``, and its arguments."""
    sizes, change = sizes_of(settings, mesh, prompts, length), None
    if shaping is not None:
        vocabulary = jax.eval_shape(model.unembedding, weight_shapes(model, mesh)).shape[1]
        sizes, change = replace(sizes, vocabulary=vocabulary), shaping.traced(vocabulary)
    program = sampling_program(model, mesh, common_settings(settings), sizes)
    weights, state, page, kept, key, asked = _arguments(model, mesh, program, sizes, truncation)
    # Tables, too, come from the host without a place.
    shapes = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), change)
    return program.sample, (weights, state, page, kept, key, replace(asked, shaping=shapes))


def _arguments(
    model: LanguageModel, mesh: Mesh, program: SamplingProgram, sizes: Sizes, truncation: Truncation | None
) -> tuple[Any, ...]:
    """What the engine's program is called with for arrays of ``sizes``."""
    split, length = meshes.row_sharding(mesh), sizes.time
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(program.empty, key)
    rows = sizes.parts * sizes.prompts

    def split_over(*shape: int) -> Any:
        return jax.ShapeDtypeStruct(shape, jnp.int32, sharding=split)

    def one(dtype: Any) -> Any:  # as they come from the host, without a place
        return jax.ShapeDtypeStruct((), dtype)

    rule = None if truncation is None else jax.eval_shape(truncation.traced)
    return (
        weight_shapes(model, mesh),
        meshes.with_shardings(state, state_shardings(mesh, state)),
        Page(split_over(rows, length), split_over(rows), split_over(rows), split_over(rows)),
        split_over(sizes.parts * sizes.slots),
        key,
        Asked(
            one(jnp.int32),
            one(jnp.float32),
            rule,
            None,
            one(bool),
            one(jnp.int32),
        ),
    )


def loop_trips(settings: SamplerSettings, mesh: Mesh, prompts: int, length: int, most: int = 0) -> dict[str, float]:
    """How often the engine's loops turn for so many prompts of each process, if all replies reach the limit.

    The fullest device counts, as the others wait for it. Arrays are made for ``most`` prompts, if these are more.
    """
    sizes: Sizes = sizes_of(settings, mesh, max(prompts, most), length)
    share = -(-prompts // rows_multiple(mesh))
    return {
        READING: -(-share // sizes.group),
        PIECES: -(-length // READ_AT_ONCE),
        WRITING: -(-share * settings.samples // sizes.slots) * settings.max_new_tokens,
        FINISHING: 0,
    }


def sampling_told(
    name: str,
    model: Model,
    mesh: Mesh,
    settings: SamplerSettings,
    prompts: int,
    truncation: Truncation | None = None,
    calls: float = 1.0,
    beside: Mapping[str, Any] | None = None,
    shaping: Shaping | None = None,
    most: int = 0,
) -> Program:
    """The engine's program for ``prompts`` prompts at once, each as long as the longest, all replies at the limit.

    ``most`` are the prompts that its arrays are made for, if these are more.
    """
    longest = shapes_of(settings, model).known
    function, arguments = sampling_call(model, mesh, settings, max(prompts, most), longest, truncation, shaping)
    new, read = prompts * settings.samples * settings.max_new_tokens, prompts * longest
    return Program(
        name,
        function,
        arguments,
        calls,
        tokens=new,
        flops=forward_flops(model.config, read + new, longest + settings.max_new_tokens),
        beside=beside or {},
        trips=loop_trips(settings, mesh, prompts, longest, most),
    )


def search_told(name: str, model: Model, mesh: Mesh, settings: BeamSettings, prompts: int, batch: int) -> Program:
    """The program of a beam search over ``batch`` of ``prompts`` prompts at once, all as long as they may get."""
    parts, split = meshes.data_parallel_size(mesh), meshes.row_sharding(mesh)
    rows = -(-min(batch, prompts) // parts) * parts
    longest = shapes_of(settings, model, parts).known
    asked = (
        jax.ShapeDtypeStruct((rows, longest), jnp.int32, sharding=split),
        jax.ShapeDtypeStruct((rows,), jnp.int32, sharding=split),
    )
    new = rows * settings.beams * settings.max_new_tokens
    return Program(
        name,
        search_program(model, mesh, settings),
        (weight_shapes(model, mesh), *asked),
        calls=-(-prompts // batch),
        tokens=new,
        flops=forward_flops(model.config, rows * longest + new, longest + settings.max_new_tokens),
        trips={PIECES: -(-longest // READ_AT_ONCE), SEARCHING: settings.max_new_tokens},
    )


def growing_told(
    name: str,
    model: Model,
    mesh: Mesh,
    settings: SamplerSettings,
    together: int,
    longest: int,
    calls: float,
    truncation: Truncation | None = None,
) -> tuple[Program, Program]:
    """The programs of a full pool of beginnings (``build_growing``), each of whose steps takes all tokens that it may.

    One reads the newest step of each into the pool, and one goes on from there.
    """
    programs = growing_programs(model, mesh, settings, together, longest)
    sizes, samples, limit = programs.sizes, settings.samples, settings.max_new_tokens
    arguments = _arguments(model, mesh, programs.sampling, sizes, truncation)
    weights, state, page, _, key, asked = arguments
    count = sizes.parts * sizes.prompts
    behind = jax.ShapeDtypeStruct((count, programs.width), jnp.int32, sharding=meshes.row_sharding(mesh))
    pieces = -(-limit // programs.piece)
    read = Program(
        f"{name}: read",
        programs.read,
        (weights, state, page.lengths, behind, *(page.lengths,) * 3, key, asked.samples),
        calls,
        tokens=count * limit,
        flops=forward_flops(model.config, count * limit, longest),
        trips={BEGINNINGS: sizes.prompts // sizes.group, PIECES: pieces},
    )
    new = count * samples * limit
    write = Program(
        f"{name}: go on",
        programs.sampling.sample,
        arguments,
        calls,
        tokens=new,
        flops=forward_flops(model.config, new, longest + limit),
        trips={READING: 0, WRITING: -(-sizes.prompts * samples // sizes.slots) * limit, FINISHING: 0},
    )
    return read, write
