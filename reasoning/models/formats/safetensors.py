"""Reads folders of safetensors files without trusting them, and writes such files.

A file is: the header's length (8 bytes, little-endian), the header (JSON: name -> dtype, shape, data_offsets), data.
The format: https://github.com/huggingface/safetensors#format. The library that comes with it takes the last of two
tensors of one name and follows paths out of the folder, and maps files into memory, which counts as the process's.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from reasoning.core.errors import InputError
from reasoning.core.files import read_json
from reasoning.core.pointers import refuse_pointer

SINGLE = "model.safetensors"
_INDEX_SUFFIX = ".safetensors.index.json"
INDEX = f"model{_INDEX_SUFFIX}"
_LARGEST_HEADER = 100_000_000
_TENSOR_NAME = re.compile(r"[\x21-\x7e]{1,500}")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=,@()\[\] -]{0,200}\.safetensors")
_RUNS_CODE = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_SHOWN = 8

_DTYPES: Mapping[str, np.dtype] = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(jnp.bfloat16),
    "F8_E4M3": np.dtype(jnp.float8_e4m3fn),
    "U8": np.dtype(np.uint8),
}
"""The dtypes that are read, by their names in headers; the last two mean something with scales only (``quantised``)."""


@dataclass(frozen=True)
class Stored:
    """Where a tensor's bytes lie: ``start`` counts from the beginning of the file."""

    path: Path
    dtype: np.dtype
    shape: tuple[int, ...]
    start: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one element along the first axis."""
        return self.dtype.itemsize * prod(self.shape[1:])


def some_names(names: Iterable[str]) -> str:
    """Some names in words, safe to print: the first of them, and how many more there are."""
    ordered = sorted(name if name.isascii() and name.isprintable() else ascii(name[:80]) for name in names)
    more = len(ordered) - _SHOWN
    return ", ".join(ordered[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def read_folder(folder: Path) -> dict[str, Stored]:
    """Every tensor of a checkpoint, by name; nothing but headers is read.

    Takes ``model.safetensors`` as transformers does, else what the index of several files lists, else the folder's one
    safetensors file. Raises InputError for pickle formats, truncated or overlong files, paths out of the folder, names
    that occur twice, an index that doesn't agree with its files, a ``model.safetensors`` beside other weights that an
    index lists, and dtypes other than F32, F16, BF16, F8_E4M3 and U8.
    """
    index = _index_of(folder)
    if index is None:
        return read_header(_inside(folder, _only_file(folder)))
    weight_map = read_json(index)
    weight_map = weight_map.get("weight_map") if isinstance(weight_map, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise InputError(f"{index}: weight_map is not a table from tensors to files; fetch the checkpoint again")
    files = sorted(set(weight_map.values()))
    if (folder / SINGLE).is_file() and SINGLE not in files:
        whole = [file for file in files if _PLAIN_NAME.fullmatch(file) and (folder / file).is_file()]
        if whole:
            raise InputError(
                f"{folder} holds {SINGLE} and also {some_names(whole)}, which {index.name} lists: two models in one "
                f"folder; move {SINGLE}, or {index.name} and its files, away"
            )
        return read_header(_inside(folder, SINGLE))
    headers = {file: read_header(_inside(folder, file)) for file in files}
    _check_index(index, weight_map, headers)
    return {name: tensor for header in headers.values() for name, tensor in header.items()}


def _index_of(folder: Path) -> Path | None:
    """The index of several files: the one of the usual name, or the only one where a tool named it otherwise."""
    if (folder / INDEX).is_file():
        return folder / INDEX
    others = sorted(folder.glob(f"*{_INDEX_SUFFIX}")) if folder.is_dir() else []
    return others[0] if len(others) == 1 and others[0].is_file() else None


def _only_file(folder: Path) -> str:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; name the folder that holds config.json and *.safetensors")
    files = sorted(path.name for path in folder.iterdir())
    tensors = [name for name in files if name.endswith(".safetensors")]
    if SINGLE in tensors:
        return SINGLE
    if len(tensors) == 1:
        return tensors[0]
    if tensors:
        raise InputError(f"{folder} holds {some_names(tensors)}, but no {INDEX} that says what is where; fetch it too")
    pickled = [name for name in files if name.endswith(_RUNS_CODE)]
    if pickled:
        raise InputError(
            f"{folder} holds {some_names(pickled)}: reading a pickle runs whatever code is in it, so this isn't done; "
            "get the model as safetensors, or save it anew by transformers' save_pretrained where you trust it"
        )
    raise InputError(f"{folder} holds no safetensors file; name the folder of a checkpoint in Hugging Face's format")


def _inside(folder: Path, file: str) -> Path:
    """The path of a file that an index names, which must be a plain name and lie in the folder itself.

    A link may also lead into the ``blobs`` of the Hub's cache that the folder, however it is named, is a snapshot of.
    Raises InputError.
    """
    path = folder / file
    if not _PLAIN_NAME.fullmatch(file):
        raise InputError(f"{folder}: {file!r} is not the name of a safetensors file in this folder; it isn't opened")
    if not path.is_file():
        raise InputError(f"{path} is missing; fetch the checkpoint again")
    real = folder.resolve()
    homes = {real}
    if real.parent.name == "snapshots":
        homes.add((real.parent.parent / "blobs").resolve())
    if path.resolve().parent not in homes:
        raise InputError(f"{path} is a link out of its folder, to {path.resolve()}; copy the file itself here")
    return path


def _check_index(index: Path, weight_map: Mapping[str, str], headers: Mapping[str, Mapping[str, Stored]]) -> None:
    counts = Counter(name for header in headers.values() for name in header)
    findings = {
        "are in no file": {name for name, file in weight_map.items() if name not in headers[file]},
        "are in more than one file": {name for name, count in counts.items() if count > 1},
        "are in a file but not in the index": counts.keys() - weight_map.keys(),
    }
    wrong = [f"{some_names(names)} {what}" for what, names in findings.items() if names]
    if wrong:
        raise InputError(f"{index} and its files don't agree: {'; '.join(wrong)}; fetch the checkpoint again")


def read_header(path: Path) -> dict[str, Stored]:
    """The tensors of one file, by name. Raises InputError that names the file and what is wrong with it."""
    refuse_pointer(path)
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _LARGEST_HEADER):
            raise InputError(f"{path} is cut off or no safetensors file: {size} bytes, header {length}; fetch it again")
        text = file.read(length)
    try:
        entries = json.loads(text.decode(), object_pairs_hook=_no_duplicates)
        if not isinstance(entries, dict):
            raise ValueError("its header is not a table")
        entries.pop("__metadata__", None)
        odd = [name for name in entries if not _TENSOR_NAME.fullmatch(name)]
        if odd:
            raise ValueError(f"a tensor's name is not plain text: {some_names(odd)}")
        tensors = {name: _stored(path, name, entry, 8 + length) for name, entry in entries.items()}
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {error}; it is damaged or no safetensors file, fetch it again") from None
    _check_offsets(path, tensors, 8 + length, size)
    return tensors


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"{some_names(twice)} occur more than once in its header")
    return dict(pairs)


def _stored(path: Path, name: str, entry: Any, data: int) -> Stored:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"the header's entry of {name} is not dtype, shape and data_offsets")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not _whole(shape) or not _whole(offsets) or len(offsets) != 2 or len(shape) > 8:
        raise ValueError(f"{name} has shape {shape} and offsets {offsets}, which are no whole numbers")
    if kind not in _DTYPES:
        raise InputError(f"{path}: {name} has dtype {kind}, and weights can be {', '.join(_DTYPES)} only")
    if offsets[1] - offsets[0] != prod(shape) * _DTYPES[kind].itemsize:
        raise ValueError(f"{name} is {kind} {shape}, which is not {offsets[1] - offsets[0]} bytes")
    return Stored(path, _DTYPES[kind], tuple(shape), data + offsets[0])


def _whole(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**62 for value in values)


def _check_offsets(path: Path, tensors: Mapping[str, Stored], data: int, size: int) -> None:
    """The tensors must fill the file after its header without gap or overlap: nothing hidden, nothing shared."""
    end = data
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].start):
        if tensor.start != end and prod(tensor.shape):
            raise InputError(f"{path}: {name} begins at byte {tensor.start}, expected {end}; fetch the file again")
        end += tensor.dtype.itemsize * prod(tensor.shape)
    if end != size:
        what = "is cut off" if end > size else "has bytes that belong to no tensor"
        raise InputError(f"{path} {what}: {size} bytes, and its header describes {end}; fetch it again")


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """The descriptor of a file that is read at given offsets."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_rows(descriptor: int, tensor: Stored, rows: range, buffer: np.ndarray) -> np.ndarray:
    """Rows ``rows`` of a tensor, read into ``buffer`` (bytes); InputError for a file that ended early."""
    wanted = len(rows) * tensor.row_bytes
    view = buffer[:wanted].data
    done = 0
    while done < wanted:
        got = os.preadv(descriptor, [view[done:]], tensor.start + rows.start * tensor.row_bytes + done)
        if got == 0:
            raise InputError(f"{tensor.path} ended while it was read; fetch it again")
        done += got
    return buffer[:wanted].view(tensor.dtype).reshape(len(rows), *tensor.shape[1:])


def header_bytes(tensors: Mapping[str, tuple[np.dtype, tuple[int, ...]]]) -> tuple[bytes, dict[str, int]]:
    """The beginning of a file that will hold these tensors in this order, and at which byte each of them begins."""
    names = {dtype: name for name, dtype in _DTYPES.items()}
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    starts: dict[str, int] = {}
    end = 0
    for name, (dtype, shape) in tensors.items():
        starts[name] = end
        end += dtype.itemsize * prod(shape)
        entries[name] = {"dtype": names[dtype], "shape": list(shape), "data_offsets": [starts[name], end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    length = 8 + len(text)
    return len(text).to_bytes(8, "little") + text, {name: length + start for name, start in starts.items()}
