"""Reads a checkpoint in Hugging Face's format straight into sharded parameters, never holding more than a shard.

A host reads of each tensor only the rows that its devices' shards need (where a shard is cut along another axis, the
whole tensor, a few megabytes at a time), casts and lays them out as we do, and hands one shard at a time to its device.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from reasoning.core.errors import InputError
from reasoning.models.config import ModelConfig
from reasoning.models.formats.quantised import Readable, dequantised, values_of
from reasoning.models.formats.safetensors import Stored, read_folder, some_names
from reasoning.models.formats.tensor_names import LeafPath, Part, Tensor, copies, parts
from reasoning.models.model import build_model, parameter_shardings
from reasoning.models.parameters import Params

Report = Callable[[int, int], None]
_Slices = tuple[slice, ...]

_BUFFER = 4 * 1024 * 1024
_UNUSED = "rotary_emb.inv_freq"  # what old versions of transformers saved beside the weights
_BESIDE_TEXT = ("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector.")
_PREFIXES = (("language_model.", ""), ("model.language_model.", "model."))  # of a multimodal Gemma 3, older and newer


def silent(done: int, total: int) -> None:
    """Reports no progress."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder whose tensors are all there, in the shapes that ``config`` needs: nothing of their values is read yet.

    ``stored`` has our config's names, also where a multimodal model wraps the decoder.
    """

    config: ModelConfig
    stored: dict[str, Readable]
    parts: dict[LeafPath, list[Part]]


def open_checkpoint(folder: Path, config: ModelConfig, beside: Collection[str] = ()) -> Checkpoint:
    """Compares names and shapes of a folder's tensors with what ``config`` needs; those ``beside`` aren't the model's.

    Raises InputError that lists all missing and superfluous names and wrong shapes, and as ``read_folder`` does.
    """
    stored = dequantised(folder, _text_only(folder, read_folder(folder)))
    stored = {name: tensor for name, tensor in stored.items() if name not in beside}
    experts = sum(kind.moe.experts for kind in config.kinds() if kind.moe and not kind.moe.biases)
    if experts > len(stored):  # before any of their tensors is listed
        raise InputError(
            f"{folder}: config.json describes {experts:,} experts in all layers, and the files hold {len(stored):,} "
            "tensors; fetch the checkpoint again"
        )
    parts_of = parts(config)
    shapes = {name: tensor.shape for name, tensor in stored.items()}
    complaint = f"{folder} doesn't hold the model that its config.json and the settings describe"
    check_tensors(parts_of, shapes, _spare(config, stored), complaint)
    if config.tied and "lm_head.weight" in stored:
        _check_equal(stored["model.embed_tokens.weight"], stored["lm_head.weight"])
    return Checkpoint(config, stored, parts_of)


def check_tensors(
    parts_of: Mapping[LeafPath, list[Part]],
    shapes: Mapping[str, tuple[int, ...]],
    spare: Collection[str],
    complaint: str,
) -> None:
    """InputError, ``complaint`` and a list, for tensors that are missing, superfluous or of another shape.

    ``shapes`` are those of the tensors that are there, of which ``spare`` ones may be.
    """
    needed = {part.tensor.name: part.tensor.shape for several in parts_of.values() for part in several}
    problems = {
        "missing": needed.keys() - shapes.keys(),
        "not of this model": shapes.keys() - needed.keys() - set(spare),
        "of another shape": {
            f"{name} ({list(shapes[name])}, expected {list(shape)})"
            for name, shape in needed.items()
            if shapes.get(name, shape) != shape
        },
    }
    wrong = [f"{what}: {some_names(names)}" for what, names in problems.items() if names]
    if wrong:
        raise InputError(f"{complaint}; {'; '.join(wrong)}")


def _text_only(folder: Path, stored: dict[str, Stored]) -> dict[str, Stored]:
    """The decoder's tensors by their plain names, where a multimodal model has put a prefix before them."""
    text_only = {}
    for name, tensor in stored.items():
        if name.startswith(_BESIDE_TEXT) or name.endswith(_UNUSED):
            continue
        for wrapped, plain in _PREFIXES:
            if name.startswith(wrapped):
                name = plain + name.removeprefix(wrapped)
                break
        if name in text_only:
            raise InputError(f"{folder} holds {name} twice, also under another prefix; fetch the checkpoint again")
        text_only[name] = tensor
    return text_only


def _spare(config: ModelConfig, stored: Mapping[str, Readable]) -> set[str]:
    """Names that may be there and aren't read: copies, and DeepSeek's layers after the last one where not asked for."""
    spare = {*copies(config), *(("lm_head.weight",) if config.tied else ())}
    layer = config.layers + config.multi_token
    while f"model.layers.{layer}.eh_proj.weight" in stored:
        spare |= {name for name in stored if name.startswith(f"model.layers.{layer}.")}
        layer += 1
    return spare


def _check_equal(embedding: Readable, head: Readable) -> None:
    same = embedding.shape == head.shape and embedding.dtype == head.dtype
    buffers = np.empty(_BUFFER, np.uint8), np.empty(_BUFFER, np.uint8)
    step, count = max(1, _BUFFER // max(1, embedding.row_bytes)), embedding.shape[0]
    for start in range(0, count, step) if same else ():
        rows = range(start, min(start + step, count))
        first, second = values_of(embedding, rows, buffers[0]), values_of(head, rows, buffers[1])
        same = same and np.array_equal(first, second)
    if not same:
        raise InputError(
            f"{head.path} holds an lm_head.weight unlike the embedding, and the model is to be tied; set tied = False"
        )


def import_checkpoint(
    folder: Path,
    config: ModelConfig,
    mesh: Mesh,
    dtype: str,
    report: Report = silent,
    beside: Collection[str] = (),
) -> Params:
    """The parameters of a folder of safetensors, sharded over ``mesh`` by the model's rules, in ``dtype``.

    ``report(done, total)`` is told how many bytes of the parameters are there. Raises InputError as
    ``open_checkpoint`` does before anything is read, and for values that are not finite.
    """
    checkpoint = open_checkpoint(folder, config, beside)
    model = build_model(config)
    places = parameter_shardings(model, mesh)
    # Every leaf must have its parts: a model with settings that no family has can't come from a checkpoint.
    leaves = {tuple(key.key for key in path) for path, _ in jax.tree.leaves_with_path(model.shapes)}
    if leaves != checkpoint.parts.keys():
        odd = some_names("/".join(path) for path in leaves ^ checkpoint.parts.keys())
        raise InputError(f"checkpoints of Hugging Face have nothing for {odd}; leave the settings that ask for it")
    total = jax.tree.reduce(lambda size, shape: size + shape.size, model.shapes, 0) * jnp.dtype(dtype).itemsize
    done = 0

    def place(path: tuple[Any, ...], shape: jax.ShapeDtypeStruct, where: jax.sharding.NamedSharding) -> jax.Array:
        nonlocal done
        name = tuple(key.key for key in path)
        array = _load(checkpoint, name, shape.shape, where, jnp.dtype(dtype))
        done += array.nbytes
        report(done, total)
        return array

    return jax.tree.map_with_path(place, model.shapes, places)


def _load(
    checkpoint: Checkpoint, path: LeafPath, shape: tuple[int, ...], where: jax.sharding.NamedSharding, dtype: np.dtype
) -> jax.Array:
    """One leaf, made shard by shard; equal shards are read once."""
    holders: dict[tuple[tuple[int, int], ...], list[Any]] = {}
    for device, index in where.addressable_devices_indices_map(shape).items():
        spans = tuple(slice(*one.indices(size)) for one, size in zip(index or (), shape, strict=True))
        holders.setdefault(tuple((span.start, span.stop) for span in spans), []).append(device)
    arrays = []
    for spans, devices in holders.items():
        shard = _shard(checkpoint, path, tuple(slice(*span) for span in spans), dtype)
        # A copy: an array that shared memory with numpy's could not be donated by a training step.
        copied = [jax.device_put(shard, device, may_alias=False) for device in devices]
        arrays += jax.block_until_ready(copied)
    return jax.make_array_from_single_device_arrays(shape, where, arrays)


def _shard(checkpoint: Checkpoint, path: LeafPath, index: _Slices, dtype: np.dtype) -> np.ndarray:
    """The values of ``leaf[index]``."""
    values = np.empty([span.stop - span.start for span in index], dtype)
    buffer = np.empty(_BUFFER, np.uint8)
    for part in checkpoint.parts[path]:
        depth = len(part.place)
        inner = [at - span.start for at, span in zip(part.place, index, strict=False)]
        if all(0 <= at < size for at, size in zip(inner, values.shape, strict=False)):
            target = values[tuple(inner)]
            buffer = _fill(target, checkpoint.stored[part.tensor.name], part.tensor, index[depth:], buffer)
    return values


def _fill(target: np.ndarray, stored: Readable, tensor: Tensor, index: _Slices, buffer: np.ndarray) -> np.ndarray:
    """Puts the part of ``tensor`` that ``index`` (of our axes) selects into ``target``; returns the buffer to reuse.

    Read are the tensor's rows, the first axis of its file, from the first that is needed to the last.
    """
    wanted = [np.arange(size)[index[tensor.order.index(axis)]] for axis, size in enumerate(tensor.view)]
    if tensor.picked is not None:
        wanted[tensor.axis] = np.array(tensor.picked)[index[tensor.order.index(tensor.axis)]]
    inner = int(np.prod(tensor.view[1 : tensor.flat[0]]))  # rows of the file in one step of the view's first axis
    step = max(1, _BUFFER // max(1, inner * stored.row_bytes))
    if step * inner * stored.row_bytes > buffer.size:
        buffer = np.empty(step * inner * stored.row_bytes, np.uint8)
    seen = target.transpose(np.argsort(tensor.order))  # the target with its axes in the view's order
    for first in range(int(wanted[0].min()), int(wanted[0].max()) + 1, step):
        last = min(first + step, int(wanted[0].max()) + 1)
        inside = np.flatnonzero((wanted[0] >= first) & (wanted[0] < last))
        if not inside.size:
            continue
        rows = values_of(stored, range(first * inner, last * inner), buffer)
        if not np.isfinite(rows).all():
            raise InputError(
                f"{stored.path}: {tensor.name} holds NaN or infinity; no model works with that, fetch it again"
            )
        block = rows.reshape(last - first, *tensor.view[1:])
        for axis, indices in enumerate([wanted[0][inside] - first, *wanted[1:]]):
            block = block[(*(slice(None),) * axis, _run(indices))]
        seen[_run(inside)] = block
    return buffer


def _run(indices: np.ndarray) -> slice | np.ndarray:
    """Indices as a slice where they follow each other: that copies nothing."""
    first = int(indices[0])
    return slice(first, first + indices.size) if (np.diff(indices) == 1).all() else indices
