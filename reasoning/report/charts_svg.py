"""Charts as small pictures: courses with their moving average, or dots that have names, and values on hovering."""

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from reasoning.core.series import Points
from reasoning.findings.curves import Chart, Series, spaced
from reasoning.findings.numbers import amount, plain
from reasoning.report.axes import Axis
from reasoning.report.template import in_html, render

_WIDTH, _HEIGHT = 340.0, 190.0
LEFT, RIGHT, TOP, FOOT = 46.0, 330.0, 10.0, 156.0
_HOVERS, _MOST_SPOTS, _MOST_LABELS, _COLOURS = 48, 12, 6, 6


def chart(chart: Chart) -> Markup:
    """Curves with their title and legend: raw values light, their moving average dark; the few are dots."""
    x, y = _axes(chart)
    columns = [(x(at), amount(at)) for at in _doubled(chart, x)] if chart.doubling else None
    box = {"width": _WIDTH, "height": _HEIGHT, "left": LEFT, "right": RIGHT, "top": TOP, "foot": FOOT}
    return render(
        "chart.html",
        in_html,
        box=box,
        colours=_COLOURS,
        title=chart.title,
        said=chart.said,
        rows=y.labels(wanted=4.3),
        columns=x.labels(5, chart.across == "step") if columns is None else columns,
        across=chart.across,
        unit=chart.unit,
        guide=_path(x, y, chart.guide) if chart.guide else "",
        series=[_series(each, x, y) for each in chart.series],
        hovers=_hovers(chart, x),
    )


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
    if last == first:
        last += first if chart.doubling else 1
    across = Axis(first, last, LEFT, RIGHT, chart.doubling)
    return across, Axis(bottom, high + 0.05 * spread, FOOT, TOP)


def _doubled(chart: Chart, x: Axis) -> list[float]:
    """The amounts to name: the powers of two of what is counted by these, else 1, 2 and 5 times powers of ten."""
    if all(math.log2(at).is_integer() for at in (x.low, x.high)):
        return [2.0**power for power in range(round(math.log2(x.low)), round(math.log2(x.high)) + 1)]
    powers = range(math.floor(math.log10(x.low)), math.ceil(math.log10(x.high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        every = (factor * 10.0**power for power in powers for factor in factors)
        found = [amount for amount in every if x.low <= amount <= x.high]
        if len(found) <= _MOST_LABELS:
            return found or [x.low, x.high]
    return found[:: -(-len(found) // _MOST_LABELS)]


def _path(x: Axis, y: Axis, points: Points) -> str:
    return "M" + "L".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)


def _series(series: Series, x: Axis, y: Axis) -> tuple[str, str, Sequence[tuple[str, bool]], Points]:
    """Its name, its course in words, paths that are light or not, and spots."""
    whiskers = "".join(f"M{x(at):.1f},{y(low):.1f}V{y(high):.1f}" for at, low, high in series.spans)
    few = bool(series.labels) or len(series.raw) <= _MOST_SPOTS
    raw = _path(x, y, series.raw) if series.raw != series.smooth and not few else ""
    paths = [(path, True) for path in (whiskers, raw) if path] + [(_path(x, y, series.smooth), False)]
    return series.name, series.course, paths, tuple((x(step), y(value)) for step, value in series.raw if few)


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
        average = dict(series.smooth).get(step)
        within = "".join(f" ({plain(low)} to {plain(high)})" for at, low, high in series.spans if at == step)
        for place, (at, raw) in enumerate(series.raw):
            if at == step:
                named = f", {series.labels[place]}" if series.labels else ""
                further = "" if named or average in (raw, None) else f" (average {plain(average)})"
                yield f"\n{series.name}{named} {plain(raw)}{further}{within}"
