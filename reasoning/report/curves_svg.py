"""Charts as small pictures: the raw values light, their moving average dark, labelled axes, values on hovering."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reasoning.report.curves import Chart, Points, Series, spaced
from reasoning.report.numbers import fixed, plain
from reasoning.report.template import in_html, render

WIDTH, HEIGHT = 340.0, 190.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 10.0, 10.0, 34.0
_FOOT = HEIGHT - BOTTOM
_HOVERS, _MOST_SPOTS = 48, 20
_COLOURS = 6


def drawn(chart: Chart) -> Markup:
    """One chart with its title and legend."""
    scale = _Scale.of(chart)
    heights = ticks(*scale.values)
    digits = next((count for count in range(7) if all(abs(tick - round(tick, count)) < 1e-9 for tick in heights)), 7)
    return render(
        "chart.html",
        in_html,
        chart=chart,
        summary=summary(chart),
        scale=scale,
        rows=[(scale.y(value), fixed(value, digits)) for value in heights],
        columns=[(scale.x(step), fixed(step, 0)) for step in ticks(*scale.steps, wanted=5) if step == int(step)],
        hovers=_hovers(chart, scale),
        colours=_COLOURS,
        most_spots=_MOST_SPOTS,
        box={"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": WIDTH - RIGHT, "top": TOP, "foot": _FOOT},
    )


def summary(chart: Chart) -> str:
    """What the chart shows, in words."""
    return "; ".join(f"{series.name} from {series.course.replace('→', 'to')}" for series in chart.series)


def ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten) between two values."""
    rough = (high - low) / wanted
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class _Scale:
    """From steps and values, each between two ends, to points of the picture."""

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
        return _FOOT - (value - low) / (high - low) * (_FOOT - TOP)

    def path(self, points: Points) -> str:
        return "M" + "L".join(f"{self.x(step):.1f},{self.y(value):.1f}" for step, value in points)


def _hovers(chart: Chart, scale: _Scale) -> Iterator[tuple[float, float, str]]:
    """Columns over the picture as (left, width, text), each with the values at its middle."""
    steps = sorted({step for series in chart.series for step, _ in series.raw})
    chosen = [steps[number] for number in spaced(len(steps), _HOVERS)]
    middles = [scale.x(step) for step in chosen]
    between = [(one + other) / 2 for one, other in zip(middles[:-1], middles[1:], strict=True)]
    for step, left, right in zip(chosen, (LEFT, *between), (*between, WIDTH - RIGHT), strict=True):
        yield left, right - left, f"step {fixed(step, 0)}{''.join(_values(chart.series, step))}"


def _values(every: Sequence[Series], step: float) -> Iterator[str]:
    for series in every:
        raw, smooth = dict(series.raw).get(step), dict(series.smooth).get(step)
        if raw is not None and smooth is not None:
            yield f"\n{series.name} {plain(raw)}" + ("" if raw == smooth else f" (average {plain(smooth)})")
