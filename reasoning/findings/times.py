"""How fast a stage went and what its steps waited for, by the clock: shown on terminals, never written to a report.

Equal runs give equal reports, and no two runs take equally long.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from reasoning.core.errors import InputError
from reasoning.core.files import is_number
from reasoning.core.stopwatch import PARTS
from reasoning.findings.numbers import large, plain
from reasoning.findings.stages import Row, mapping
from reasoning.planning.chips import chip_of

_SECONDS, _TOKENS, _FLOPS = "seconds", "tokens", "flops"


@dataclass(frozen=True)
class Times:
    """Seconds of a stage's ``steps``, but for the first, which compiles, where there are others.

    ``step`` is the median of a step's, ``shares`` what each part took of all. ``tokens`` a second are those that were
    sampled or carried loss; ``utilization`` is model FLOPs utilization (PaLM, arXiv 2204.02311, section 4.1): the
    operations of the metric ``flops`` in that time by the devices' published peak, None where none is known of them.
    """

    steps: int
    step: float
    shares: Mapping[str, float]
    tokens: float
    utilization: float | None


def times_of(timings: Sequence[Row], metrics: Sequence[Row], record: Mapping[str, Any]) -> Times | None:
    """The times of a stage from its rows and its record; None before there is any."""
    rows = [row for row in timings if is_number(row.get(_SECONDS)) and is_number(row.get("step"))]
    counted = rows[1:] or rows
    whole = sum(row[_SECONDS] for row in counted)
    if whole <= 0:
        return None
    spent = {name: sum(row[name] for row in counted if is_number(row.get(name))) for name in PARTS}
    steps = {row["step"] for row in counted}
    amounts = [row for row in metrics if is_number(row.get("step")) and row["step"] in steps]
    tokens, flops = (sum(row[name] for row in amounts if is_number(row.get(name))) for name in (_TOKENS, _FLOPS))
    peak = peak_of(record)
    return Times(
        steps=len(rows),
        step=median(row[_SECONDS] for row in counted),
        shares={name: seconds / whole for name, seconds in spent.items() if seconds > 0},
        tokens=tokens / whole,
        utilization=None if peak is None or not flops else flops / whole / peak,
    )


def peak_of(record: Mapping[str, Any]) -> float | None:
    """Operations a second that the devices of a stage's last environment can do; None where none are published."""
    environments = record.get("environments")
    device = mapping(mapping(environments[-1]).get("device")) if isinstance(environments, list) and environments else {}
    kind, count = device.get("kind"), device.get("count")
    try:
        chip = chip_of(str(kind))
    except InputError:
        return None
    return chip.of_a_device(chip.flops) * count if isinstance(count, int) else None


def time_words(times: Times) -> Iterator[str]:
    """Speed and shares in short, piece by piece."""
    yield f"{plain(times.step)} s a step"
    if times.tokens > 0:
        yield f"{large(times.tokens)} tokens/s"
    if times.utilization is not None:
        yield f"MFU {times.utilization:.1%}"
    if times.shares:
        yield ", ".join(f"{name} {share:.0%}" for name, share in times.shares.items())
