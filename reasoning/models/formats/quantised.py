"""Weights stored as small numbers beside their scales, which become float32 as they are read, some rows at a time.

FP8 (DeepSeek-V3, arXiv 2412.19437, section 3.3): ``NAME`` [R, C] in float8_e4m3fn and ``NAME_scale_inv`` with one
number for each block of 128 x 128, those at the edges smaller; a weight is their product. MXFP4 (OCP Microscaling
Formats 1.0, as gpt-oss is released): ``NAME_blocks`` [E, R, G, 16], two numbers of four bits a byte, the low half
first, and ``NAME_scales`` [E, R, G] with an exponent for each 32; together they are ``NAME`` [E, 32 G, R].
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from reasoning.core.errors import InputError
from reasoning.models.formats.safetensors import Stored, opened, read_rows, some_names

_BLOCK = 128
_FP8, _BYTES = np.dtype(jnp.float8_e4m3fn), np.dtype(np.uint8)
_SCALE, _BLOCKS, _EXPONENTS = "_scale_inv", "_blocks", "_scales"
_GROUP = 32
_NO_NUMBER, _BIAS = 255, 127  # of an exponent of eight bits

_FP8_VALUES = np.arange(256, dtype=np.uint8).view(_FP8).astype(np.float32)
_FP4_VALUES = np.array([sign * value for sign in (1, -1) for value in (0, 0.5, 1, 1.5, 2, 3, 4, 6)], np.float32)


@dataclass(frozen=True)
class Quantised:
    """A tensor of numbers and scales that reads as float32 in ``shape``.

    ``rows_a_scale`` rows share one of ``scales``; ``decode(values, scales, offset)`` gets some rows and the scales of
    them all, and how many rows before the first one have the same.
    """

    name: str
    values: Stored
    scales: Stored
    shape: tuple[int, ...]
    rows_a_scale: int
    decode: Callable[[np.ndarray, np.ndarray, int], np.ndarray]
    valid: Callable[[np.ndarray], np.ndarray]

    @property
    def path(self) -> Path:
        """The file that holds the numbers."""
        return self.values.path

    @property
    def dtype(self) -> np.dtype:
        """What it is read as."""
        return np.dtype(np.float32)

    @property
    def row_bytes(self) -> int:
        """Bytes of one element along the first axis, once it is read."""
        return self.dtype.itemsize * prod(self.shape[1:])


Readable = Stored | Quantised


def values_of(tensor: Readable, rows: range, buffer: np.ndarray) -> np.ndarray:
    """Rows ``rows`` of a tensor; ``buffer`` has room for them. Raises InputError for scales that are no scales."""
    if isinstance(tensor, Stored):
        with opened(tensor.path) as descriptor:
            return read_rows(descriptor, tensor, rows, buffer)
    first, last = rows.start // tensor.rows_a_scale, (rows.stop - 1) // tensor.rows_a_scale + 1
    own = np.empty((last - first) * tensor.scales.row_bytes, np.uint8)
    with opened(tensor.scales.path) as descriptor:
        scales = read_rows(descriptor, tensor.scales, range(first, last), own)
    if not tensor.valid(scales).all():
        raise InputError(
            f"{tensor.scales.path}: the scales of {tensor.name} are not all finite and at least 0; no weight can be "
            "made with them, fetch it again"
        )
    with opened(tensor.path) as descriptor:
        values = read_rows(descriptor, tensor.values, rows, buffer)
    return tensor.decode(values, scales, rows.start - first * tensor.rows_a_scale)


def dequantised(folder: Path, stored: Mapping[str, Stored]) -> dict[str, Readable]:
    """A folder's tensors with numbers and scales put together, by the names of what they make.

    Raises InputError that lists all numbers without scales, scales without numbers and scales of a wrong shape or type.
    """
    made: dict[str, Readable] = {}
    used: set[str] = set()
    for name, tensor in stored.items():
        if tensor.dtype == _FP8 and name + _SCALE in stored:
            made[name] = _fp8(name, tensor, stored[name + _SCALE])
            used |= {name, name + _SCALE}
        plain = name.removesuffix(_BLOCKS)
        if tensor.dtype == _BYTES and plain != name and plain + _EXPONENTS in stored:
            made[plain] = _mxfp4(plain, tensor, stored[plain + _EXPONENTS])
            used |= {name, plain + _EXPONENTS}
    rest = {name: tensor for name, tensor in stored.items() if name not in used}
    problems = {
        "float8 without their scales": {name for name, tensor in rest.items() if tensor.dtype == _FP8},
        "scales without their float8": {name for name in rest if name.endswith(_SCALE)},
        "of dtype U8 and not both blocks and scales": {name for name, tensor in rest.items() if tensor.dtype == _BYTES},
        "given twice": made.keys() & rest.keys(),
        "with scales that don't fit": {
            f"{name} ({list(each.values.shape)} and {list(each.scales.shape)} of {each.scales.dtype})"
            for name, each in made.items()
            if isinstance(each, Quantised) and not _fits(each)
        },
    }
    wrong = [f"{what}: {some_names(names)}" for what, names in problems.items() if names]
    if wrong:
        raise InputError(f"{folder} holds quantised weights that can't be read: {'; '.join(wrong)}; fetch them again")
    return {**rest, **made}


def _fits(tensor: Quantised) -> bool:
    shape, scales = tensor.values.shape, tensor.scales
    if tensor.values.dtype == _FP8:
        wanted = tuple(-(-size // _BLOCK) for size in shape)
        return len(shape) == 2 and scales.shape == wanted and scales.dtype not in (_FP8, _BYTES)
    return len(shape) == 4 and shape[3] == _GROUP // 2 and scales.shape == shape[:3] and scales.dtype == _BYTES


def _fp8(name: str, values: Stored, scales: Stored) -> Quantised:
    return Quantised(name, values, scales, values.shape, _BLOCK, _from_fp8, _is_scale)


def _is_scale(scales: np.ndarray) -> np.ndarray:
    return np.isfinite(scales) & (scales >= 0)


def _from_fp8(values: np.ndarray, scales: np.ndarray, offset: int) -> np.ndarray:
    wide = _FP8_VALUES[values.view(np.uint8)]
    edges = [0, *range(_BLOCK - offset, len(wide), _BLOCK), len(wide)]
    for of_block, (start, end) in zip(scales.astype(np.float32), pairwise(edges), strict=True):
        wide[start:end] *= np.repeat(of_block, _BLOCK)[: wide.shape[1]]
    return wide


def _mxfp4(name: str, values: Stored, scales: Stored) -> Quantised:
    experts, rows, groups = (*values.shape, 0, 0, 0)[:3]
    return Quantised(name, values, scales, (experts, _GROUP * groups, rows), 1, _from_mxfp4, _is_exponent)


def _is_exponent(scales: np.ndarray) -> np.ndarray:
    return scales != _NO_NUMBER


def _from_mxfp4(values: np.ndarray, scales: np.ndarray, offset: int) -> np.ndarray:
    halves = np.stack([_FP4_VALUES[values & 15], _FP4_VALUES[values >> 4]], axis=-1)
    exponents = scales[..., None].astype(np.int32) - _BIAS
    wide = np.ldexp(halves.reshape(*scales.shape, _GROUP), exponents)
    return wide.reshape(*scales.shape[:2], -1).swapaxes(1, 2)
