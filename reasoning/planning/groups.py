"""Among which devices a collective exchanges, from the text of a compiled program."""

import re
from math import prod

import numpy as np

_GROUPS = re.compile(r"replica_groups=(\{\{.*?\}\}|\{\}|\[[\d,]+\]<=\[[\d,]+\](?:T\([\d,]+\))?)")
_MESH = re.compile(r"replica_groups=mesh\[([^\]]+)\](?:, device_ids=\(\[([\d,]+)\](?:T\(([\d,]+)\))?\))? \{([^}]*)\}")
_PAIRS = re.compile(r"source_target_pairs=\{(\{.*?\})\}")


def first_group(attributes: str) -> tuple[int, ...]:
    """The first group of devices among which a collective exchanges, as numbers in the program's assignment."""
    pairs = _PAIRS.search(attributes)
    if pairs:
        moved = [tuple(map(int, pair.split(","))) for pair in re.findall(r"\{([\d,]+)\}", pairs[1])]
        return next((pair for pair in moved if pair[0] != pair[1]), ())
    if mesh := _MESH.search(attributes):
        return _group_along(*mesh.groups())
    found = _GROUPS.search(attributes)
    if found is None:
        return ()
    text = found[1]
    if text.startswith("{"):
        first = re.search(r"\{([\d,]+)\}", text)
        return tuple(map(int, first[1].split(","))) if first else ()
    shape, rest = text[1:].split("]<=[")
    sizes, _, order = rest.partition("]")
    numbers = np.arange(prod(map(int, sizes.split(",")))).reshape([int(size) for size in sizes.split(",")])
    if order:
        numbers = numbers.transpose([int(axis) for axis in order[2:-1].split(",")])
    return tuple(numbers.reshape([int(size) for size in shape.split(",")])[0].tolist())


def _group_along(axes: str, shape: str | None, order: str | None, along: str) -> tuple[int, ...]:
    """The first group of those that stand ``along`` some of a mesh's axes: mesh['a'=4,'b'=2] {'a'}."""
    names, sizes = zip(*(axis.split("=") for axis in axes.split(",")), strict=True)
    numbers = np.arange(prod(map(int, sizes)))
    if shape:
        numbers = numbers.reshape([int(size) for size in shape.split(",")])
    if order:
        numbers = numbers.transpose([int(axis) for axis in order.split(",")])
    grid = numbers.reshape([int(size) for size in sizes])
    return tuple(grid[tuple(slice(None) if name in along else 0 for name in names)].reshape(-1).tolist())
