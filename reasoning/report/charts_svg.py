"""Charts as small pictures: courses with their moving average and values on hovering, and what costs buy, as dots."""

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from reasoning.core.series import Points
from reasoning.findings.curves import Chart, Series, spaced
from reasoning.findings.numbers import fixed, large, number, plain
from reasoning.report.axes import Axis, interval_words, labelled
from reasoning.report.document import Frontier, Spot
from reasoning.report.template import in_html, render

_WIDTH, _HEIGHT = 340.0, 190.0
LEFT, RIGHT, TOP, FOOT = 46.0, 330.0, 10.0, 156.0
_HOVERS, _MOST_SPOTS, _COLOURS = 48, 12, 6
_SIDE = 0.06
"""How much of an axis of costs stays free on each side, so that no dot lies on its end."""


def chart(chart: Chart) -> Markup:
    """Curves with their title and legend: raw values light, their moving average dark."""
    x, y = _axes(chart)
    columns = labelled(_powers(x)) if chart.doubling else None
    return _plotted(
        kind="chart",
        title=chart.title,
        said=f"{chart.title} by {chart.across}: {summary(chart)}",
        rows=y.labels(wanted=4.3),
        columns=x.labels(5, chart.across == "step") if columns is None else [(x(at), label) for at, label in columns],
        across=chart.across,
        unit=chart.unit,
        guide=_path(x, y, chart.guide) if chart.guide else "",
        series=[_series(each, x, y) for each in chart.series],
        hovers=_hovers(chart, x),
    )


def frontier(frontier: Frontier) -> Markup:
    """Ways of answering as dots over the logarithms of what they cost; each owner's best for their cost are joined.

    These are the picture's text alternative.
    """
    costs = [math.log10(spot.cost) for spot in frontier.spots]
    low, high = min(costs), max(costs)
    margin = _SIDE * (high - low) or 0.5
    x, y = Axis(10 ** (low - margin), 10 ** (high + margin), LEFT, RIGHT, True), Axis(0.0, 1.0, FOOT, TOP)
    owners = [_owner(name, spots, x, y) for name, spots in _by_owner(frontier.spots)]
    told = "".join(f"{name}: {course}. " for name, course, _, _, _ in owners)
    return _plotted(
        kind="chart frontier",
        title=frontier.title,
        said=f"{frontier.title}. Best for their cost: {told}",
        rows=y.labels(),
        columns=[(x(cost), _short(cost)) for cost in _decades(x.low, x.high)],
        across=frontier.cost,
        unit="",
        guide="",
        series=owners,
        hovers=(),
    )


def summary(chart: Chart) -> str:
    """What the chart shows, in words."""
    courses = (f"{': ' if each.told else ' from '}{each.course.replace('→', 'to')}" for each in chart.series)
    return "; ".join(series.name + course for series, course in zip(chart.series, courses, strict=True))


def _plotted(**values: object) -> Markup:
    box = {"width": _WIDTH, "height": _HEIGHT, "left": LEFT, "right": RIGHT, "top": TOP, "foot": FOOT}
    return render("chart.html", in_html, box=box, colours=_COLOURS, **values)


_Drawn = tuple[str, str, Sequence[tuple[str, bool]], Sequence[tuple[float, float]], Sequence[dict[str, object]]]
"""A series as its name, its course in words, paths that are light or not, small spots, and dots with words."""


def _axes(chart: Chart) -> tuple[Axis, Axis]:
    points = [point for series in chart.series for point in (*series.raw, *series.smooth)] + [*chart.guide]
    spans = [end for series in chart.series for _, *both in series.spans for end in both]
    steps, values = [step for step, _ in points], [value for _, value in points] + spans
    low, high = min(values), max(values)
    if 0 <= low <= 0.5 * high:
        low = 0.0
    spread = high - low or max(abs(high), 1.0) * 0.1
    bottom = low if low == 0 else low - 0.05 * spread
    first, last = min(steps), max(steps)
    if chart.across != "step" and not chart.doubling:  # Amounts begin at none.
        first, last = min(first, 0.0), last * 1.04
    across = Axis(first, last if last > first else first + 1, LEFT, RIGHT, chart.doubling)
    return across, Axis(bottom, high + 0.05 * spread, FOOT, TOP)


def _powers(x: Axis) -> list[float]:
    return [2.0**power for power in range(math.ceil(math.log2(x.low)), math.floor(math.log2(x.high)) + 1)]


def _path(x: Axis, y: Axis, points: Points) -> str:
    return "M" + "L".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)


def _series(series: Series, x: Axis, y: Axis) -> _Drawn:
    whiskers = "".join(f"M{x(at):.1f},{y(low):.1f}V{y(high):.1f}" for at, low, high in series.spans)
    raw = _path(x, y, series.raw) if series.raw != series.smooth else ""
    paths = [(path, True) for path in (whiskers, raw) if path] + [(_path(x, y, series.smooth), False)]
    spots = [(x(step), y(value)) for step, value in series.smooth] if len(series.smooth) <= _MOST_SPOTS else []
    return series.name, series.course, paths, spots, []


def _hovers(chart: Chart, x: Axis) -> Iterator[tuple[float, float, str]]:
    """Columns over the picture as (left, width, text), each with the values at its middle."""
    steps = sorted({step for series in chart.series for step, _ in series.raw})
    chosen = [steps[number] for number in spaced(len(steps), _HOVERS)]
    middles = [x(step) for step in chosen]
    between = [(one + other) / 2 for one, other in zip(middles[:-1], middles[1:], strict=True)]
    for step, left, right in zip(chosen, (LEFT, *between), (*between, RIGHT), strict=True):
        yield left, right - left, f"{chart.across} {plain(step)}{''.join(_values(chart.series, step))}"


def _values(every: Sequence[Series], step: float) -> Iterator[str]:
    for series in every:
        raw, smooth = dict(series.raw).get(step), dict(series.smooth).get(step)
        if raw is not None and smooth is not None:
            further = "" if raw == smooth else f" (average {plain(smooth)})"
            within = "".join(f" ({plain(low)} to {plain(high)})" for at, low, high in series.spans if at == step)
            yield f"\n{series.name} {plain(raw)}{further}{within}"


def _by_owner(spots: Sequence[Spot]) -> list[tuple[str, list[Spot]]]:
    """The spots of each owner that has a best one."""
    owners = dict.fromkeys(spot.owner for spot in spots if spot.frontier)
    return [(owner, [spot for spot in spots if spot.owner == owner]) for owner in owners]


def _owner(name: str, spots: Sequence[Spot], x: Axis, y: Axis) -> _Drawn:
    best = [spot for spot in sorted(spots, key=lambda spot: spot.cost) if spot.frontier]
    # Until something better is paid for, what was reached stays: steps, not slopes.
    line = f"M{x(best[0].cost):.1f},{y(best[0].value):.1f}"
    line += "".join(f"H{x(spot.cost):.1f}V{y(spot.value):.1f}" for spot in best[1:])
    dots = [
        {
            "x": x(spot.cost),
            "y": y(spot.value),
            "span": None if spot.low is None or spot.high is None else (y(spot.low), y(spot.high)),
            "best": spot.frontier,
            "said": f"{name}, {_told(spot)}{interval_words(spot.low, spot.high)}",
        }
        for spot in spots
    ]
    return name, "; ".join(map(_told, best)), [(line, False)], [], dots


def _told(spot: Spot) -> str:
    return f"{spot.name} {number(spot.value)} at {_short(spot.cost)}"


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
