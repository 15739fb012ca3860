"""A plan on the terminal: the programs of each stage, what they take, and the verdict."""

from collections.abc import Iterator, Sequence

from rich.console import Console

from reasoning.planning.plan import Plan, Planned
from reasoning.planning.record import mfu_bound, tokens_per_second
from reasoning.planning.search import Ranked
from reasoning.planning.trying import Helped
from reasoning.report.console import put, table
from reasoning.report.document import NOTHING, Cell
from reasoning.report.numbers import fixed, large

_GIB = 2**30
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
    put(console, "mesh: " + ", ".join(f"{axis} {size}" for axis, size in plan.mesh.items()), wrapped=True)
    for note in plan.notes:
        put(console, f"assumed: {note}", wrapped=True)
    for line in stage_lines(plan, price):
        put(console, line, wrapped=True)
    for line in (*verdict(plan), *helped_lines(helped)):
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


def helped_lines(helped: Sequence[Helped]) -> Iterator[str]:
    """What would help programs that don't fit, as it was tried."""
    for each in helped:
        name = f"{each.one.stage}: {each.one.name}"
        for one in each.tried:
            yield f"tried for {name}: {one.words} takes {gib(one.memory)} GiB{', which fits' if one.fits else ''}"
        if not each.tried:
            yield f"tried for {name}: no single change helps; take more or larger chips"


def stage_lines(plan: Plan, price: float) -> Iterator[str]:
    """What each stage and the run take at least."""
    stages = dict.fromkeys(one.stage for one in plan.programs)
    for stage in (*stages, None):
        hours = plan.chip_hours(stage)
        cost = f", {price * hours:,.2f} at {price:,.2f} a chip and hour" if price else ""
        time = duration(3600 * hours / plan.chips)
        yield f"{stage or 'in all'}: at least {time}, {hours:,.3g} chip-hours{cost}"


def verdict(plan: Plan) -> Iterator[str]:
    """Whether all fits, and by how much; of what doesn't fit how much is missing, and what lies there."""
    if not plan.too_large:
        fullest = max(plan.programs, key=lambda one: one.memory)
        free = plan.capacity - fullest.memory
        yield f"fits: {gib(free)} GiB are free at the fullest, {fullest.stage}: {fullest.name}"
    for one in plan.too_large:
        missing = one.memory - plan.capacity
        beside = ", ".join(f"{name} {gib(size)}" for name, size in one.beside.items())
        if one.found.refusal and not one.found.memory:
            yield f"{one.stage}: {one.name} can't be compiled"
        else:
            by = f" by {gib(missing)} GiB" if missing > 0 else ""
            held = f"{gib(one.found.memory)} GiB" + (f" beside {beside}" if beside else "")
            yield f"{one.stage}: {one.name} doesn't fit{by}: {held}"
        if one.found.refusal:
            yield f"  the compiler: {one.found.refusal}"


def row_of(plan: Plan, one: Planned) -> tuple[Cell | str, ...]:
    found, refused = one.found, bool(one.found.refusal)
    beside = "\n".join(f"+ {name} {gib(size)}" for name, size in one.beside.items() if size >= 0.005 * _GIB)
    largest = "\n".join(f"{gib(size)} {name}" for name, size in found.largest[:3] if size >= 0.005 * _GIB)
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


def gib(size: float) -> str:
    """Bytes in GiB, as memory is counted."""
    return fixed(size / _GIB, 2)


def size_words(size: float) -> str:
    """Bytes by the powers of ten that bandwidths have."""
    return f"{large(size)}B" if size >= 1e4 else f"{size:.0f} B"


def duration(seconds: float) -> str:
    """A time, short."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"
