"""A plan as data, for other programs and for the table of all plans."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from reasoning.planning.plan import Plan, Planned
from reasoning.planning.trying import Helped


def plan_record(plan: Plan, price: float, helped: Sequence[Helped] = ()) -> dict[str, Any]:
    """All that the plan says, in bytes, seconds and operations of one device; ``price`` is a chip's for an hour."""
    hours = plan.chip_hours()
    return {
        "topology": plan.topology,
        "device": plan.kind,
        "chips": plan.chips,
        "mesh": dict(plan.mesh),
        "capacity": plan.capacity,
        "versions": dict(plan.versions),
        "fits": not plan.too_large,
        "chip_hours": hours,
        **({"cost": price * hours} if price else {}),
        "notes": list(plan.notes),
        "programs": [_program(plan, one) for one in plan.programs],
        "tried": [
            {"stage": each.one.stage, "program": each.one.name, **asdict(one)} for each in helped for one in each.tried
        ],
    }


def _program(plan: Plan, one: Planned) -> dict[str, Any]:
    return {
        "stage": one.stage,
        "program": one.name,
        "calls": one.calls,
        "tokens": one.tokens,
        "memory": one.memory,
        "beside": dict(one.beside),
        "arguments_by_kind": dict(one.arguments),
        **{name: value for name, value in asdict(one.found).items() if name not in ("memory", "seconds")},
        "program_memory": one.found.memory,
        "roofline": asdict(one.times) | {"seconds": one.times.seconds, "binds": one.times.binds},
        "tokens_per_second": tokens_per_second(one),
        "mfu": mfu_bound(plan, one),
    }


def tokens_per_second(one: Planned) -> float:
    """Tokens that all devices process a second at most."""
    return one.tokens / one.times.seconds if one.times.seconds else 0.0


def mfu_bound(plan: Plan, one: Planned) -> float:
    """The share of the peak that the model's own operations can reach, 1 at most.

    They are the formula's, but for those that the program leaves out: it takes attention for unmasked, of which kernels
    compute half.
    """
    peak, done = plan.chip.of_a_device(plan.chip.flops) * plan.devices, one.found.flops * plan.devices
    return min(one.formula, done) / (peak * one.times.seconds) if one.times.seconds else 0.0
