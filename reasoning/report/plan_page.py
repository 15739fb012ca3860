"""A plan as a page: what each program holds of a device beside what a device has, and what each waits for."""

from collections.abc import Iterator, Mapping, Sequence

from reasoning.findings.plans import (
    OTHER,
    duration,
    gib,
    held_by_kind,
    helped_lines,
    largest_kinds,
    mesh_words,
    stage_lines,
    verdict,
)
from reasoning.planning.plan import Plan, Planned
from reasoning.planning.trying import Helped
from reasoning.report.document import Bar, Bars, Bullets, Cell, Glance, Grid, Note, Part, Report, Section
from reasoning.report.plan import COLUMNS, row_of

_TIMES = ("products", "memory", "links", "network")


def plan_report(plan: Plan, price: float, helped: Sequence[Helped]) -> Report:
    """What is drawn of a plan; the numbers and the words are those of the terminal."""
    told, *further = verdict(plan)
    where = f"{plan.topology}: {plan.chips} chips ({plan.kind}); " + mesh_words(plan.mesh)
    notes = tuple(Note("", line) for line in (*further, *helped_lines(helped)))
    hours = tuple(("", line) for line in stage_lines(plan, price))
    rows = tuple(tuple(_cell(each) for each in row_of(plan, one)) for one in plan.programs)
    parts = [
        Section("At a glance", (Glance(where, told, notes), Bullets(hours))),
        Section("Memory", (_memory(plan),)),
        Section("Time", (_time(plan),)),
        Section("Programs", (Grid("What each program takes", COLUMNS, rows, open=True),)),
    ]
    if plan.notes:
        parts.append(Section("Assumed", (Bullets(tuple(("", note) for note in plan.notes)),)))
    versions = tuple((name, version or "not installed") for name, version in plan.versions.items())
    parts.append(Section("Made with", (Bullets(versions),)))
    return Report(f"Plan for {plan.topology}", tuple(parts))


def _cell(given: Cell | str) -> Cell:
    return given if isinstance(given, Cell) else Cell(given)


def _memory(plan: Plan) -> Bars:
    """A bar a program: arguments by kind, what it makes, and what stays alive beside it, against what a device has."""
    pieces = [held_by_kind(one) for one in plan.programs]
    kinds = largest_kinds(pieces)
    bars = [_bar(plan, one, each, kinds) for one, each in zip(plan.programs, pieces, strict=True)]
    limit = Part("capacity", plan.capacity, f"{gib(plan.capacity)} GiB")
    return Bars("HBM of a device, GiB", kinds, tuple(bars), limit)


def _bar(plan: Plan, one: Planned, pieces: Mapping[str, float], kinds: Sequence[str]) -> Bar:
    other = sum(size for name, size in pieces.items() if name not in kinds)
    sizes = {**{name: pieces.get(name, 0.0) for name in kinds}, OTHER: other}
    parts = tuple(Part(name, sizes[name], gib(sizes[name])) for name in kinds if sizes[name] > 0)
    tone = "down" if one in plan.too_large else ""
    return Bar(f"{one.stage}: {one.name}", parts, f"{gib(one.memory)} GiB", tone)


def _time(plan: Plan) -> Bars:
    """The time that all calls of a program keep each part of a device busy: the longest of them is the least time."""
    return Bars("Least time of all calls, by what is busy", _TIMES, tuple(_busy(plan)))


def _busy(plan: Plan) -> Iterator[Bar]:
    for one in plan.programs:
        if not one.found.refusal:
            for name in _TIMES:
                seconds = one.calls * getattr(one.times, name)
                if seconds >= 0.01 * one.seconds > 0:
                    binds = " binds" if name == one.times.binds else ""
                    part = Part(name, seconds, duration(seconds))
                    yield Bar(f"{one.stage}: {one.name}, {name}", (part,), f"{duration(seconds)}{binds}")
