"""Charts as small pictures: the raw values light, their moving average dark, labelled axes, values on hovering."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reasoning.core.series import Points
from reasoning.findings.curves import Chart, Series, spaced
from reasoning.findings.numbers import fixed, plain
from reasoning.report.template import in_html, render

WIDTH, HEIGHT = 340.0, 190.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 10.0, 10.0, 34.0
_FOOT = HEIGHT - BOTTOM
_HOVERS, _MOST_SPOTS = 48, 12
_COLOURS = 6


def drawn(chart: Chart) -> Markup:
    """One chart with its title and legend."""
    scale = _Scale.of(chart)
    return render(
        "chart.html",
        in_html,
        chart=chart,
        summary=summary(chart),
        scale=scale,
        rows=[(scale.y(value), label) for value, label in labelled(ticks(*scale.values, wanted=4.3))],
        columns=[(scale.x(step), label) for step, label in labelled(scale.marks(whole=chart.across == "step"))],
        hovers=_hovers(chart, scale),
        colours=_COLOURS,
        most_spots=_MOST_SPOTS,
        box={"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": WIDTH - RIGHT, "top": TOP, "foot": _FOOT},
    )


def summary(chart: Chart) -> str:
    """What the chart shows, in words."""
    courses = (f"{': ' if each.told else ' from '}{each.course.replace('→', 'to')}" for each in chart.series)
    return "; ".join(series.name + course for series, course in zip(chart.series, courses, strict=True))


def ticks(low: float, high: float, wanted: float = 4) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten) between two values."""
    rough = (high - low) / wanted
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def labelled(values: Sequence[float]) -> list[tuple[float, str]]:
    """Round numbers, all with as many digits as the longest needs."""
    digits = next((count for count in range(7) if all(abs(value - round(value, count)) < 1e-9 for value in values)), 7)
    return [(value, fixed(value, digits)) for value in values]


@dataclass(frozen=True)
class _Scale:
    """From steps and values, each between two ends, to points of the picture."""

    steps: tuple[float, float]
    values: tuple[float, float]
    doubling: bool

    @classmethod
    def of(cls, chart: Chart) -> "_Scale":
        points = [point for series in chart.series for point in (*series.raw, *series.smooth)] + [*chart.guide]
        spans = [end for series in chart.series for _, *ends in series.spans for end in ends]
        steps, values = [step for step, _ in points], [value for _, value in points] + spans
        low, high = min(values), max(values)
        if 0 <= low <= 0.5 * high:
            low = 0.0
        spread = high - low or max(abs(high), 1.0) * 0.1
        bottom = low if low == 0 else low - 0.05 * spread
        first, last = min(steps), max(steps)
        if chart.across != "step" and not chart.doubling:  # Amounts begin at none.
            first, last = min(first, 0.0), last * 1.04
        return cls((first, last if last > first else first + 1), (bottom, high + 0.05 * spread), chart.doubling)

    def marks(self, whole: bool) -> list[float]:
        first, last = self.steps
        if self.doubling:
            return [2.0**power for power in range(math.ceil(math.log2(first)), math.floor(math.log2(last)) + 1)]
        return [step for step in ticks(first, last, wanted=5) if not whole or step == int(step)]

    def x(self, step: float) -> float:
        first, last, step = map(math.log2, (*self.steps, step)) if self.doubling else (*self.steps, step)
        return LEFT + (step - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self.values
        return _FOOT - (value - low) / (high - low) * (_FOOT - TOP)

    def path(self, points: Points) -> str:
        return "M" + "L".join(f"{self.x(step):.1f},{self.y(value):.1f}" for step, value in points)

    def whiskers(self, series: Series) -> str:
        return "".join(f"M{self.x(at):.1f},{self.y(low):.1f}V{self.y(high):.1f}" for at, low, high in series.spans)


def _hovers(chart: Chart, scale: _Scale) -> Iterator[tuple[float, float, str]]:
    """Columns over the picture as (left, width, text), each with the values at its middle."""
    steps = sorted({step for series in chart.series for step, _ in series.raw})
    chosen = [steps[number] for number in spaced(len(steps), _HOVERS)]
    middles = [scale.x(step) for step in chosen]
    between = [(one + other) / 2 for one, other in zip(middles[:-1], middles[1:], strict=True)]
    for step, left, right in zip(chosen, (LEFT, *between), (*between, WIDTH - RIGHT), strict=True):
        yield left, right - left, f"{chart.across} {plain(step)}{''.join(_values(chart.series, step))}"


def _values(every: Sequence[Series], step: float) -> Iterator[str]:
    for series in every:
        raw, smooth = dict(series.raw).get(step), dict(series.smooth).get(step)
        if raw is not None and smooth is not None:
            further = "" if raw == smooth else f" (average {plain(smooth)})"
            within = "".join(f" ({plain(low)} to {plain(high)})" for at, low, high in series.spans if at == step)
            yield f"\n{series.name} {plain(raw)}{further}{within}"
