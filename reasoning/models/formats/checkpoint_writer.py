"""Writes parameters as a checkpoint in Hugging Face's format: safetensors in shards, their index, config.json."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from reasoning.core.files import write_json
from reasoning.core.folders import check_free, folder_in_making
from reasoning.models.config import ModelConfig
from reasoning.models.formats.checkpoint_reader import Report, silent
from reasoning.models.formats.families_export import to_hf
from reasoning.models.formats.safetensors import INDEX, SINGLE, header_bytes
from reasoning.models.formats.tensor_names import LeafPath, Part, Tensor, copies, is_stacked, leaf, parts
from reasoning.models.parameters import Params

_LARGEST_FILE = 5_000_000_000

Dtype = Literal["float32", "bfloat16"]
_Pieces = dict[str, list[tuple[Tensor, np.ndarray]]]
_PartsOf = Mapping[LeafPath, list[Part]]


@dataclass(frozen=True)
class _FileLayout:
    """Where each tensor will lie: in which file, from which byte, in which dtype."""

    files: dict[str, bytes]  # name -> the file's beginning
    sizes: dict[str, int]
    places: dict[str, tuple[str, int, np.dtype]]


def export_checkpoint(
    folder: Path, config: ModelConfig, params: Params, dtype: Dtype, extra: Mapping[str, Any], report: Report = silent
) -> None:
    """Write a model as ``folder``, which appears when it is whole; transformers and vLLM load it.

    Weights are cast to ``dtype``; a tied unembedding isn't written. ``extra`` (ids of special tokens) goes into
    ``config.json``. Of several processes all must call it, and the first one writes. Raises InputError where
    ``folder`` exists and for models that no family is like (``to_hf``).
    """
    described = {**to_hf(config, dtype), **extra}
    check_free(folder)
    with folder_in_making(folder) if jax.process_index() == 0 else contextlib.nullcontext() as partial:
        if partial is not None:
            partial.mkdir(parents=True)
            write_json(partial / "config.json", described)
        write_weights(partial, config, params, dtype, _LARGEST_FILE, report)


def write_weights(
    folder: Path | None, config: ModelConfig, params: Params, dtype: Dtype, largest_file: int, report: Report = silent
) -> None:
    """The safetensors files, of at most ``largest_file`` bytes each, and their index, leaf by leaf.

    ``folder`` is None in a process that only takes part in gathering. ``report(done, total)`` counts parameters.
    """
    parts_of = parts(config)
    layout = _file_layout(parts_of, copies(config), jnp.dtype(dtype), largest_file)
    doubles: dict[str, list[str]] = {}
    for copy, source in copies(config).items():
        doubles.setdefault(source, []).append(copy)
    total, done = sum(leaf.size for leaf in jax.tree.leaves(params)), 0
    with contextlib.ExitStack() as stack:
        descriptors = {} if folder is None else {name: _created(stack, folder, name, layout) for name in layout.files}
        for several in _sharing(parts_of).values():
            for pieces in _by_layer(several, parts_of, params):
                if folder is not None:
                    _write_tensors(pieces, layout, descriptors, doubles)
                done += sum(piece.size for tensor in pieces.values() for _, piece in tensor)
                report(done, total)
    if folder is not None and len(layout.files) > 1:
        size = sum(layout.sizes[name] - len(beginning) for name, beginning in layout.files.items())
        weight_map = {name: file for name, (file, _, _) in layout.places.items()}
        write_json(folder / INDEX, {"metadata": {"total_size": size}, "weight_map": weight_map})


def _sharing(parts_of: _PartsOf) -> dict[str, list[LeafPath]]:
    """Leaves by the first tensor that they have a part of: those that share one must be at hand together."""
    shared: dict[str, list[LeafPath]] = {}
    for path, several in parts_of.items():
        shared.setdefault(several[0].tensor.name, []).append(path)
    return shared


def _file_layout(parts_of: _PartsOf, same: Mapping[str, str], dtype: np.dtype, largest_file: int) -> _FileLayout:
    """Divides the tensors, in the order of their layers, among files."""
    tensors = {part.tensor.name: part.tensor for several in parts_of.values() for part in several}
    tensors |= {copy: tensors[source] for copy, source in same.items()}
    described = {
        name: (np.dtype(np.float32) if tensor.full_precision else dtype, tensor.shape)
        for name, tensor in sorted(tensors.items(), key=lambda item: _natural(item[0]))
    }
    groups: list[dict[str, tuple[np.dtype, tuple[int, ...]]]] = [{}]
    size = 0
    for name, (kind, shape) in described.items():
        length = kind.itemsize * prod(shape)
        if groups[-1] and size + length > largest_file:
            groups.append({})
            size = 0
        groups[-1][name] = (kind, shape)
        size += length
    count = len(groups)
    names = [SINGLE] if count == 1 else [f"model-{n + 1:05d}-of-{count:05d}.safetensors" for n in range(count)]
    files, sizes, places = {}, {}, {}
    for file, group in zip(names, groups, strict=True):
        files[file], starts = header_bytes(group)
        sizes[file] = len(files[file]) + sum(kind.itemsize * prod(shape) for kind, shape in group.values())
        places |= {name: (file, starts[name], group[name][0]) for name in group}
    return _FileLayout(files, sizes, places)


def _natural(name: str) -> tuple[Any, ...]:
    """Sorts layer 2 before layer 10, and what is no number after what is one."""
    return tuple((0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in name.split("."))


def _created(stack: contextlib.ExitStack, folder: Path, name: str, layout: _FileLayout) -> int:
    descriptor = os.open(folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    stack.callback(os.close, descriptor)
    os.truncate(descriptor, layout.sizes[name])
    _write_at(descriptor, np.frombuffer(layout.files[name], np.uint8), 0)
    return descriptor


def _by_layer(paths: list[LeafPath], parts_of: _PartsOf, params: Params) -> Iterator[_Pieces]:
    """What leaves that share tensors give to them, one layer of a stack at a time: a stack of experts is vast."""
    layers = leaf(params, paths[0]).shape[0] if is_stacked(paths[0]) else 1
    for layer in range(layers):
        pieces: _Pieces = {}
        for path in paths:
            array = leaf(params, path)
            values = on_host(_layer(array, layer) if is_stacked(path) else array)
            for part in parts_of[path]:
                if is_stacked(path) and part.place[0] != layer:
                    continue
                inner = part.place[1:] if is_stacked(path) else part.place
                pieces.setdefault(part.tensor.name, []).append((part.tensor, values[inner]))
        yield pieces


@jax.jit
def _layer(array: jax.Array, layer: int | jax.Array) -> jax.Array:
    """One layer of a stack, sharded as it is."""
    return jax.lax.dynamic_index_in_dim(array, layer, keepdims=False)


def _write_tensors(
    pieces: _Pieces, layout: _FileLayout, descriptors: Mapping[str, int], doubles: Mapping[str, list[str]]
) -> None:
    """Puts tensors that are all there at their places; also where copies of them belong."""
    for name, several in pieces.items():
        file, start, dtype = layout.places[name]
        whole = _assembled(several, dtype)
        _write_at(descriptors[file], whole, start)
        for double in doubles.get(name, ()):
            file, start, _ = layout.places[double]
            _write_at(descriptors[file], whole, start)


def _assembled(several: list[tuple[Tensor, np.ndarray]], dtype: np.dtype) -> np.ndarray:
    """The bytes of one tensor of theirs, from all the parts of it."""
    view = np.empty(several[0][0].view, dtype)
    for tensor, part in several:
        in_view_order = part.transpose(np.argsort(tensor.order))
        if tensor.picked is None:
            view[...] = in_view_order
        else:
            view[(slice(None),) * tensor.axis + (np.array(tensor.picked),)] = in_view_order
    return view.reshape(-1).view(np.uint8)


def _write_at(descriptor: int, data: np.ndarray, start: int) -> None:
    done = 0
    while done < data.nbytes:
        done += os.pwrite(descriptor, data[done:].data, start + done)


def on_host(array: jax.Array) -> np.ndarray:
    """A whole leaf in this process's memory. Collective where it spans processes."""
    if not array.is_fully_addressable:
        return np.asarray(multihost_utils.process_allgather(array, tiled=True))
    values = np.empty(array.shape, array.dtype)
    for shard in array.addressable_shards:
        if shard.replica_id == 0:
            values[shard.index] = np.asarray(shard.data)
    return values
