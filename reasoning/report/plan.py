"""A plan on the terminal: the programs of each stage, what they take, and the verdict."""

from collections.abc import Sequence

from rich.console import Console

from reasoning.findings.numbers import large
from reasoning.findings.plans import GIB, duration, gib, helped_lines, mesh_words, size_words, stage_lines, verdict
from reasoning.planning.plan import Plan, Planned
from reasoning.planning.record import mfu_bound, tokens_per_second
from reasoning.planning.search import Ranked
from reasoning.planning.trying import Helped
from reasoning.report.console import put, table
from reasoning.report.document import NOTHING, Cell

COLUMNS = (
    "stage: program",
    "calls",
    "HBM, GiB",
    "largest",
    "FLOPs",
    "traffic",
    "exchanged",
    "at least",
    "binds",
    "tokens/s",
    "MFU ≤",
)


def show_plan(console: Console, plan: Plan, price: float, helped: Sequence[Helped] = ()) -> None:
    """Prints the table and what follows from it; ``price`` of a chip for an hour, 0 where nobody gave one."""
    title = f"{plan.topology}: {plan.chips} chips ({plan.kind}), {gib(plan.capacity)} GiB of HBM a device for programs"
    put(console, table(title, COLUMNS, (row_of(plan, one) for one in plan.programs)))
    put(console, mesh_words(plan.mesh), wrapped=True)
    for note in plan.notes:
        put(console, f"assumed: {note}", wrapped=True)
    for line in (*stage_lines(plan, price), *verdict(plan), *helped_lines(helped)):
        put(console, line, wrapped=True)


def show_search(console: Console, ranked: Sequence[Ranked], chips: int) -> None:
    """Prints settings that were compiled, the best first."""
    columns = ("mesh", "rows at once", "remat", "HBM, GiB", "at least", "chip-hours")
    rows = (_ranked_row(each, chips) for each in ranked)
    put(console, table("settings by the least time of the run", columns, rows))


def _ranked_row(one: Ranked, chips: int) -> tuple[Cell | str, ...]:
    mesh = ", ".join(f"{axis} {size}" for axis, size in one.choice.mesh.items() if size > 1)
    rest = (duration(one.seconds), f"{one.seconds * chips / 3600:,.3g}") if one.fits else ("doesn't fit", NOTHING)
    held = Cell(gib(one.memory) if one.memory else "fails", "", "" if one.fits else "wrong")
    return mesh or "one device", str(one.choice.rows), one.choice.remat, held, *rest


def row_of(plan: Plan, one: Planned) -> tuple[Cell | str, ...]:
    found, refused = one.found, bool(one.found.refusal)
    beside = "\n".join(f"+ {name} {gib(size)}" for name, size in one.beside.items() if size >= 0.005 * GIB)
    largest = "\n".join(f"{gib(size)} {name}" for name, size in found.largest[:3] if size >= 0.005 * GIB)
    exchanged = "\n".join(
        f"{each.kind} {each.axes} {size_words(each.sent)}" for each in found.exchanged if each.sent >= 1e6
    )
    return (
        f"{one.stage}: {one.name}",
        f"{one.calls:,.0f}",
        Cell(gib(one.memory), beside, "wrong" if one in plan.too_large else ""),
        largest or NOTHING,
        NOTHING if refused else large(found.flops),
        NOTHING if refused else size_words(found.hbm),
        exchanged or NOTHING,
        NOTHING if refused else duration(one.times.seconds),
        NOTHING if refused else one.times.binds,
        large(tokens_per_second(one)) if one.tokens and not refused else NOTHING,
        f"{mfu_bound(plan, one):.0%}" if one.formula and not refused else NOTHING,
    )
