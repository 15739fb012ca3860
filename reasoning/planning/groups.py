"""Among which devices a collective of a compiled program exchanges, in each of the forms that its text has."""

import re
from math import prod

import numpy as np

_GROUPS = re.compile(r"replica_groups=(\{\{.*?\}\}|\{\}|\[[\d,]+\]<=\[[\d,]+\](?:T\([\d,]+\))?)")
_PAIRS = re.compile(r"source_target_pairs=\{(\{.*?\})\}")
_MESH = re.compile(r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\((.*?)\)(?= \{))? \{([^}]*)\}")
_AXIS = re.compile(r"'([^']+)'(?:=(\d+)|:\((\d+)\)(\d+))?")
_IOTA = re.compile(r"\[([\d,]+)\](?:T\(([\d,]+)\))?$")


def first_group(attributes: str) -> tuple[int, ...]:
    """The first group of devices among which a collective exchanges, as numbers in the program's assignment.

    Empty where the text names none, which means all devices.
    """
    pairs = _PAIRS.search(attributes)
    if pairs:
        moved = [_numbers(pair) for pair in re.findall(r"\{([\d,]+)\}", pairs[1])]
        return next((pair for pair in moved if pair[0] != pair[1]), ())
    meshed = _MESH.search(attributes)
    if meshed:
        return _along_axes(*meshed.groups(default=""))
    found = _GROUPS.search(attributes)
    if found is None:
        return ()
    if found[1].startswith("{"):
        first = re.search(r"\{([\d,]+)\}", found[1])
        return _numbers(first[1]) if first else ()
    shape, order = found[1][1:].split("]<=")
    return tuple(_iota(order).reshape(_numbers(shape))[0].tolist())


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",") if number)


def _iota(text: str) -> np.ndarray:
    """The numbers of ``[2,4]T(1,0)``: counted on in these sizes, then transposed."""
    found = _IOTA.search(text)
    if found is None:
        return np.arange(0)
    sizes = _numbers(found[1])
    counted = np.arange(prod(sizes)).reshape(sizes)
    return counted.transpose(_numbers(found[2])) if found[2] else counted


def _along_axes(axes: str, devices: str, chosen: str) -> tuple[int, ...]:
    """The first group along the ``chosen`` axes of a mesh, of which one may be a part: ``'a':(2)4`` leaves 2 before."""
    sizes = {name: int(size) for name, size, *_ in _AXIS.findall(axes)}
    parts: list[tuple[int, bool]] = []  # sizes of the mesh, axes split where only a part is chosen
    wanted = {name: (int(before or 1), int(size or sizes[name])) for name, _, before, size in _AXIS.findall(chosen)}
    for name, size in sizes.items():
        before, own = wanted.get(name, (1, 1))
        parts += [(before, False), (own, True), (size // before // own, False)]
    shape = [size for size, _ in parts]
    numbers = (_iota(devices) if devices else np.arange(prod(shape))).reshape(shape)
    first = numbers[tuple(slice(None) if taken else 0 for _, taken in parts)]
    return tuple(sorted(first.reshape(-1).tolist()))
