"""Where boxes stand so that arrows are short and cross little: layers by depth, order by neighbours, then positions.

The usual method for layered drawings (Sugiyama, Tagawa, Toda 1981): an arrow over several layers gets a corner in each
of them, layers are ordered by the mean place of what they are joined to, and places are found by least squares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reasoning.findings.graph import Workflow, connected, depths

_SWEEPS = 8
_PLACING_SWEEPS = 60
_CORNER_STRENGTH = 8.0

Item = str | tuple[str, str, int]
"""What stands in a layer: a box by its name, or the corner of an arrow by (source, target, layer)."""


@dataclass(frozen=True)
class Layout:
    """Middles of boxes and corners of arrows, in units of length from the left, layer by layer.

    ``layers`` names what stands in each layer from left to right; ``across`` gives the middle of each; ``width`` is the
    whole drawing's.
    """

    layers: tuple[tuple[Item, ...], ...]
    across: Mapping[Item, float]
    width: float

    def path(self, source: str, target: str) -> list[tuple[float, int]]:
        """The points that an arrow goes through, as (middle, layer)."""
        return [
            (self.across[item], number)
            for number, layer in enumerate(self.layers)
            for item in layer
            if item in (source, target) or item == (source, target, number)
        ]


def layout(flow: Workflow, box_width: float, corner_width: float, gap: float) -> Layout:
    """Places the boxes of a workflow; exams, which have no arrows, are left out."""
    boxes, _ = connected(flow)
    depth = depths(flow)
    layers: list[list[Item]] = [[] for _ in range(1 + max((depth[box.name] for box in boxes), default=0))]
    for box in boxes:
        layers[depth[box.name]].append(box.name)
    joined: dict[Item, list[Item]] = {item: [] for layer in layers for item in layer}
    for arrow in flow.arrows:
        chain: list[Item] = [arrow.source]
        for number in range(depth[arrow.source] + 1, depth[arrow.target]):
            corner = (arrow.source, arrow.target, number)
            layers[number].append(corner)
            chain.append(corner)
        chain.append(arrow.target)
        for one, other in zip(chain[:-1], chain[1:], strict=True):
            joined.setdefault(one, []).append(other)
            joined.setdefault(other, []).append(one)
    _order(layers, joined)
    widths = {item: box_width if isinstance(item, str) else corner_width for layer in layers for item in layer}
    across = _places(layers, joined, widths, gap)
    left = min((across[item] - widths[item] / 2 for item in widths), default=0.0)
    across = {item: round(place - left, 1) for item, place in across.items()}
    right = max((across[item] + widths[item] / 2 for item in widths), default=0.0)
    return Layout(tuple(tuple(layer) for layer in layers), across, right)


def _order(layers: list[list[Item]], joined: Mapping[Item, Sequence[Item]]) -> None:
    """Sorts each layer by the mean place of its neighbours in the layer before, then after, and again."""
    for sweep in range(_SWEEPS):
        numbers = range(1, len(layers)) if sweep % 2 == 0 else range(len(layers) - 2, -1, -1)
        for number in numbers:
            fixed = layers[number - 1 if sweep % 2 == 0 else number + 1]
            place = {item: (index + 0.5) / len(fixed) for index, item in enumerate(fixed)}
            own = {item: (index + 0.5) / len(layers[number]) for index, item in enumerate(layers[number])}
            near = {item: [place[other] for other in joined[item] if other in place] or [own[item]] for item in own}
            means = {item: sum(places) / len(places) for item, places in near.items()}
            layers[number].sort(key=lambda item, means=means: means[item])


def _places(
    layers: list[list[Item]], joined: Mapping[Item, Sequence[Item]], widths: Mapping[Item, float], gap: float
) -> dict[Item, float]:
    across = {item: 0.0 for layer in layers for item in layer}
    for sweep in range(_PLACING_SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            wanted = [_pulled(item, joined[item], across) for item in layer]
            apart = [(widths[one] + widths[other]) / 2 + gap for one, other in zip(layer[:-1], layer[1:], strict=True)]
            strength = [1.0 if isinstance(item, str) else _CORNER_STRENGTH for item in layer]
            across.update(zip(layer, spread(wanted, apart, strength), strict=True))
    return across


def _pulled(item: Item, near: Sequence[Item], across: Mapping[Item, float]) -> float:
    """Where an item's neighbours want it; corners of one arrow pull each other hard, so that it runs straight."""
    pull = [_CORNER_STRENGTH if not isinstance(item, str) and not isinstance(other, str) else 1.0 for other in near]
    if not near:
        return across[item]
    return sum(force * across[other] for force, other in zip(pull, near, strict=True)) / sum(pull)


def spread(wanted: Sequence[float], apart: Sequence[float], strength: Sequence[float]) -> list[float]:
    """The places nearest to ``wanted`` (least squares, each weighed by its strength) that are ``apart``, or farther.

    Without the distances it is an isotonic regression, solved by pooling neighbours that stand in the wrong order.
    """
    offsets = [0.0]
    for distance in apart:
        offsets.append(offsets[-1] + distance)
    pools: list[tuple[float, float, int]] = []
    for value, offset, own in zip(wanted, offsets, strength, strict=False):
        mean, weight, count = value - offset, own, 1
        while pools and pools[-1][0] > mean:
            before, heavy, size = pools.pop()
            mean = (mean * weight + before * heavy) / (weight + heavy)
            weight, count = weight + heavy, count + size
        pools.append((mean, weight, count))
    flat = [mean for mean, _, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(flat, offsets, strict=False)]
