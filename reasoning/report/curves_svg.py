"""Charts as small pictures: the raw values light, their moving average dark, labelled axes, values on hovering."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reasoning.report.curves import Chart, Points, Series
from reasoning.report.markup import Markup, element, joined
from reasoning.report.scores import short, with_minus

WIDTH, HEIGHT = 340.0, 190.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 10.0, 10.0, 34.0
HOVERS = 48
COLOURS = 6


def drawn(chart: Chart) -> Markup:
    """One chart with its title and legend."""
    scale = _Scale.of(chart)
    parts = [*_grid(scale), *_names(chart)]
    for number, series in enumerate(chart.series):
        colour = f"series c{number % COLOURS}"
        if series.raw != series.smooth:
            parts.append(element("path", d=_path(series.raw, scale), class_=f"{colour} raw"))
        parts.append(element("path", d=_path(series.smooth, scale), class_=colour))
        if len(series.smooth) <= 20:
            spots = (element("circle", cx=scale.x(a), cy=scale.y(b), r=2.2) for a, b in series.smooth)
            parts.append(element("g", *spots, class_=f"{colour} spots"))
    parts.append(element("g", *_hovers(chart, scale), class_="hovers"))
    picture = element(
        "svg",
        joined(*parts),
        viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}",
        role="img",
        aria_label=f"{chart.title} over steps: {summary(chart)}",
    )
    return element("figure", element("figcaption", chart.title), picture, _legend(chart), class_="chart")


def summary(chart: Chart) -> str:
    """What the chart shows, in words."""
    return "; ".join(f"{series.name} from {short(series.first)} to {short(series.last)}" for series in chart.series)


def ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten) between two values."""
    rough = (high - low) / wanted
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class _Scale:
    """From steps and values, each between two ends, to places in the picture."""

    steps: tuple[float, float]
    values: tuple[float, float]

    @classmethod
    def of(cls, chart: Chart) -> "_Scale":
        points = [point for series in chart.series for point in (*series.raw, *series.smooth)]
        steps, values = [step for step, _ in points], [value for _, value in points]
        low, high = min(values), max(values)
        if 0 <= low <= 0.5 * high:
            low = 0.0
        spread = high - low or max(abs(high), 1.0) * 0.1
        bottom = low if low == 0 else low - 0.05 * spread
        last = max(steps)
        return cls((min(steps), last if last > min(steps) else last + 1), (bottom, high + 0.05 * spread))

    def x(self, step: float) -> float:
        first, last = self.steps
        return LEFT + (step - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self.values
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def _grid(scale: _Scale) -> list[Markup]:
    parts = []
    marks = ticks(*scale.values)
    digits = next((count for count in range(7) if all(abs(mark - round(mark, count)) < 1e-9 for mark in marks)), 7)
    for value in marks:
        y = scale.y(value)
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="rule"))
        parts.append(element("text", with_minus(f"{value:,.{digits}f}"), x=LEFT - 5, y=y + 3.5, text_anchor="end"))
    for step in [mark for mark in ticks(*scale.steps, wanted=5) if mark == int(mark)]:
        parts.append(element("text", f"{step:,.0f}", x=scale.x(step), y=HEIGHT - BOTTOM + 15, text_anchor="middle"))
    foot = HEIGHT - BOTTOM
    parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=foot, y2=foot, class_="axis"))
    return parts


def _names(chart: Chart) -> list[Markup]:
    middle = TOP + (HEIGHT - TOP - BOTTOM) / 2
    turned = f"rotate(-90 10 {middle:.0f})"
    return [
        element("text", "step", x=LEFT + (WIDTH - LEFT - RIGHT) / 2, y=HEIGHT - 4, text_anchor="middle", class_="unit"),
        element("text", chart.unit, x=10, y=middle, text_anchor="middle", transform=turned, class_="unit"),
    ]


def _path(points: Points, scale: _Scale) -> str:
    places = (f"{scale.x(step):.1f},{scale.y(value):.1f}" for step, value in points)
    return "M" + "L".join(places)


def _hovers(chart: Chart, scale: _Scale) -> list[Markup]:
    """Columns over the picture, each with the values at its middle."""
    steps = sorted({step for series in chart.series for step, _ in series.raw})
    chosen = (
        steps if len(steps) <= HOVERS else [steps[round(k * (len(steps) - 1) / (HOVERS - 1))] for k in range(HOVERS)]
    )
    edges = [scale.x(step) for step in chosen]
    parts = []
    for place, step in enumerate(chosen):
        left = (edges[place - 1] + edges[place]) / 2 if place else LEFT
        right = (edges[place] + edges[place + 1]) / 2 if place + 1 < len(edges) else WIDTH - RIGHT
        said = element("title", f"step {step:,.0f}" + "".join(_values(chart.series, step)))
        parts.append(element("rect", said, x=left, y=TOP, width=right - left, height=HEIGHT - TOP - BOTTOM))
    return parts


def _values(every: Sequence[Series], step: float) -> list[str]:
    found = []
    for series in every:
        raw, smooth = dict(series.raw).get(step), dict(series.smooth).get(step)
        if raw is not None and smooth is not None:
            average = "" if raw == smooth else f" (average {smooth:.4g})"
            found.append(f"\n{series.name} {raw:.4g}{average}")
    return found


def _legend(chart: Chart) -> Markup:
    keys = [
        element("li", element("span", class_=f"key c{number % COLOURS}"), series.name, " ", _ends(series))
        for number, series in enumerate(chart.series)
    ]
    return element("ul", *keys, class_="legend")


def _ends(series: Series) -> Markup:
    return element("small", f"{short(series.first)} → {short(series.last)}")
