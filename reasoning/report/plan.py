"""A plan on the terminal and as a page: programs, what they hold and wait for, what they take, and the verdict."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console

from reasoning.findings.notes import Note
from reasoning.findings.numbers import large
from reasoning.findings.plans import (
    GIB,
    OTHER,
    chips_words,
    duration,
    gib,
    held_by_kind,
    helped_lines,
    largest_kinds,
    mesh_words,
    search_lines,
    size_words,
    stage_lines,
    verdict,
)
from reasoning.planning.plan import Plan, Planned
from reasoning.planning.record import mfu_bound, tokens_per_second
from reasoning.planning.search import Ranked
from reasoning.planning.topology import devices_named
from reasoning.planning.trying import Helped
from reasoning.report.console import put, table
from reasoning.report.document import NOTHING, Bar, Bars, Bullets, Cell, Glance, Grid, Mark, Report, Section

_COLUMNS = (
    "stage: program",
    "calls",
    "HBM, GiB",
    "at least",
    "binds",
    "tokens/s",
    "MFU ≤",
    "FLOPs",
    "traffic",
    "exchanged",
    "largest",
)
_TIMES = ("products", "memory", "links", "network")


def show_plan(console: Console, plan: Plan, price: float, helped: Sequence[Helped] = ()) -> None:
    """Prints the table and what follows from it; ``price`` of a chip for an hour, 0 where nobody gave one."""
    title = f"{chips_words(plan)}, {gib(plan.capacity)} GiB of HBM a device for programs"
    put(console, table(title, _COLUMNS, (_row(plan, one) for one in plan.programs)))
    put(console, mesh_words(plan.mesh), wrapped=True)
    for note in plan.notes:
        put(console, f"assumed: {note}", wrapped=True)
    for line in (*stage_lines(plan, price), *verdict(plan), *helped_lines(helped)):
        put(console, line, wrapped=True)


def show_search(console: Console, ranked: Sequence[Ranked], chips: int) -> None:
    """Prints settings that were compiled, the best first, the file's own among them, and what to write for the best."""
    columns = ("mesh", "rows at once", "remat", "HBM, GiB", "at least", "chip-hours")
    rows = (_ranked_row(each, chips) for each in ranked)
    put(console, table("settings by the least time of the run", columns, rows))
    for line in search_lines(ranked):
        put(console, line, wrapped=True)


def _ranked_row(one: Ranked, chips: int) -> tuple[Cell | str, ...]:
    mesh = ", ".join(f"{axis} {size}" for axis, size in one.choice.mesh.items() if size > 1) or "one device"
    rest = (duration(one.seconds), f"{one.seconds * chips / 3600:,.3g}") if one.fits else ("doesn't fit", NOTHING)
    held = Cell(gib(one.memory) if one.memory else "fails", "", "" if one.fits else "wrong")
    named = Cell(mesh, "the file's own" if one.choice.own else "")
    return named, str(one.choice.rows), one.choice.remat, held, *rest


def _row(plan: Plan, one: Planned) -> tuple[Cell, ...]:
    found, refused = one.found, bool(one.found.refusal)
    beside = "\n".join(f"+ {name} {gib(size)}" for name, size in one.beside.items() if size >= 0.005 * GIB)
    largest = "\n".join(f"{gib(size)} {name}" for name, size in found.largest[:3] if size >= 0.005 * GIB)
    exchanged = "\n".join(
        f"{each.kind} {each.axes} {size_words(each.sent)}{' by network' if each.across_slices else ''}"
        for each in found.exchanged
        if each.sent >= 1e6
    )
    cells = (
        f"{one.stage}: {one.name}",
        f"{one.calls:,.0f}",
        Cell(gib(one.memory), beside, "wrong" if one in plan.too_large else ""),
        NOTHING if refused else duration(one.times.seconds),
        NOTHING if refused else one.times.binds,
        large(tokens_per_second(one)) if one.tokens and not refused else NOTHING,
        f"{mfu_bound(plan, one):.0%}" if one.formula and not refused else NOTHING,
        NOTHING if refused else large(found.flops),
        NOTHING if refused else size_words(found.hbm),
        exchanged or NOTHING,
        largest or NOTHING,
    )
    return tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in cells)


def plan_report(plan: Plan, price: float, helped: Sequence[Helped]) -> Report:
    """What is drawn of a plan; the numbers and the words are those of the terminal."""
    told, *further = verdict(plan)
    where = f"{chips_words(plan)}; {mesh_words(plan.mesh)}"
    notes = tuple(Note("", line) for line in (*further, *helped_lines(helped)))
    hours = tuple(("", line) for line in stage_lines(plan, price))
    rows = tuple(_row(plan, one) for one in plan.programs)
    parts = [
        Section("At a glance", (Glance(where, told, notes), Bullets(hours))),
        Section("Memory", (_memory(plan),)),
        Section("Time", (_time(plan),)),
        Section("Programs", (Grid("What each program takes", _COLUMNS, rows, open=True),)),
    ]
    if plan.notes:
        parts.append(Section("Assumed", (Bullets(tuple(("", note) for note in plan.notes)),)))
    versions = tuple((name, version or "not installed") for name, version in plan.versions.items())
    parts.append(Section("Made with", (Bullets(versions),)))
    return Report(f"Plan for {plan.topology}", tuple(parts))


def _memory(plan: Plan) -> Bars:
    """A bar a program: arguments by kind, what it makes, and what stays alive beside it, against what a device has."""
    pieces = [held_by_kind(one) for one in plan.programs]
    kinds = largest_kinds(pieces)
    bars = [_bar(plan, one, each, kinds) for one, each in zip(plan.programs, pieces, strict=True)]
    generation, _ = devices_named(plan.topology)
    limit = Mark("capacity", plan.capacity, f"{generation}: {gib(plan.capacity)} GiB")
    return Bars("HBM of a device, GiB", kinds, tuple(bars), limit, last=2)  # others, and what programs make


def _bar(plan: Plan, one: Planned, pieces: Mapping[str, float], kinds: Sequence[str]) -> Bar:
    other = sum(size for name, size in pieces.items() if name not in kinds)
    sizes = {**{name: pieces.get(name, 0.0) for name in kinds}, OTHER: other}
    parts = tuple(Mark(name, sizes[name], gib(sizes[name])) for name in kinds if sizes[name] > 0)
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
                    part = Mark(name, seconds, duration(seconds))
                    yield Bar(f"{one.stage}: {one.name}, {name}", (part,), f"{duration(seconds)}{binds}")
