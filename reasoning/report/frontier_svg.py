"""Ways of answering as dots over what they cost, on a logarithmic axis; each owner's best for their cost are joined."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from reasoning.findings.numbers import ends, fixed, large, number
from reasoning.report.curves_svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, ticks
from reasoning.report.document import Frontier, Spot
from reasoning.report.template import in_html, render

_FOOT = HEIGHT - BOTTOM
_COLOURS = 6
_SIDE = 0.06
"""How much of the axis stays free on each side, so that no dot lies on its end."""


def drawn(frontier: Frontier) -> Markup:
    """The picture with its title and legend; what is on each owner's frontier is its text alternative."""
    costs = [math.log10(spot.cost) for spot in frontier.spots]
    low, high = min(costs), max(costs)
    margin = _SIDE * (high - low) or 0.5
    low, high = low - margin, high + margin

    def x(cost: float) -> float:
        return LEFT + (math.log10(cost) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return _FOOT - value * (_FOOT - TOP)

    owners = [
        {
            "name": owner,
            "told": "; ".join(map(_told, best)),
            # Until something better is paid for, what was reached stays: steps, not slopes.
            "line": f"M{x(best[0].cost):.1f},{y(best[0].value):.1f}"
            + "".join(f"H{x(spot.cost):.1f}V{y(spot.value):.1f}" for spot in best[1:]),
            "spots": [
                {
                    "x": x(spot.cost),
                    "y": y(spot.value),
                    "span": None if spot.low is None or spot.high is None else (y(spot.low), y(spot.high)),
                    "best": spot.frontier,
                    "said": f"{owner}, {_told(spot)}{_ends(spot)}",
                }
                for spot in spots
            ],
        }
        for owner, spots in _by_owner(frontier.spots)
        if (best := [spot for spot in sorted(spots, key=lambda spot: spot.cost) if spot.frontier])
    ]
    return render(
        "frontier.html",
        in_html,
        frontier=frontier,
        owners=owners,
        rows=[(y(value), fixed(value, 2)) for value in ticks(0.0, 1.0)],
        columns=[(x(cost), _short(cost)) for cost in _decades(10**low, 10**high)],
        colours=_COLOURS,
        box={"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": WIDTH - RIGHT, "top": TOP, "foot": _FOOT},
    )


def _by_owner(spots: Sequence[Spot]) -> list[tuple[str, list[Spot]]]:
    owners = dict.fromkeys(spot.owner for spot in spots)
    return [(owner, [spot for spot in spots if spot.owner == owner]) for owner in owners]


def _told(spot: Spot) -> str:
    return f"{spot.name} {number(spot.value)} at {_short(spot.cost)}"


def _ends(spot: Spot) -> str:
    if spot.low is None or spot.high is None:
        return ""
    return f", 95 % interval {ends(spot.low, spot.high, number)}"


def _short(cost: float) -> str:
    return large(cost) if cost >= 1e4 else f"{cost:.3g}" if cost < 1000 else fixed(cost, 0)


def _decades(low: float, high: float) -> list[float]:
    """The costs 1, 2 and 5 times a power of ten between two; of many only the powers."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [factor * 10.0**power for power in powers for factor in factors if low <= factor * 10.0**power <= high]
        if len(found) <= 6:
            return found
    return found[:: -(-len(found) // 6)]
