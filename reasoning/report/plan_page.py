"""A plan as a page: what each program holds of a device beside what a device has, and what each waits for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from reasoning.planning.plan import Plan, Planned
from reasoning.planning.trying import Helped
from reasoning.report.document import Bar, Bars, Bullets, Cell, Glance, Grid, Note, Part, Report, Section
from reasoning.report.plan import COLUMNS, duration, gib, helped_lines, row_of, stage_lines, verdict

_NAMED, _OTHER, _TEMPORARIES = 6, "other arguments", "temporaries and results"
_SPOKEN = {"params": "parameters"}
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


def mesh_words(mesh: Mapping[str, int]) -> str:
    """A mesh's axes with their sizes."""
    return "mesh: " + ", ".join(f"{axis} {size}" for axis, size in mesh.items())


def _cell(given: Cell | str) -> Cell:
    return given if isinstance(given, Cell) else Cell(given)


def _memory(plan: Plan) -> Bars:
    """A bar a program: arguments by kind, what it makes, and what stays alive beside it, against what a device has."""
    pieces = [_pieces(one) for one in plan.programs]
    kinds = _kinds(pieces)
    bars = [_bar(plan, one, each, kinds) for one, each in zip(plan.programs, pieces, strict=True)]
    limit = Part("capacity", plan.capacity, f"{gib(plan.capacity)} GiB")
    return Bars("HBM of a device, GiB", kinds, tuple(bars), limit)


def _pieces(one: Planned) -> dict[str, float]:
    """Bytes by kind; what lies beside a program counts to the kind that it is of elsewhere."""
    pieces: dict[str, float] = {}
    for name, size in (*one.arguments.items(), *one.beside.items()):
        pieces[_SPOKEN.get(name, name)] = pieces.get(_SPOKEN.get(name, name), 0.0) + size
    pieces[_TEMPORARIES] = max(one.found.memory - sum(one.arguments.values()), 0.0)
    return pieces


def _kinds(pieces: Iterable[Mapping[str, float]]) -> tuple[str, ...]:
    """The kinds that are largest anywhere, then the others together, then what programs make."""
    most: dict[str, float] = {}
    for each in pieces:
        for name, size in each.items():
            most[name] = max(most.get(name, 0.0), size)
    most.pop(_TEMPORARIES, None)
    named = sorted(most, key=lambda name: -most[name])[:_NAMED]
    return (*named, _OTHER, _TEMPORARIES)


def _bar(plan: Plan, one: Planned, pieces: Mapping[str, float], kinds: Sequence[str]) -> Bar:
    other = sum(size for name, size in pieces.items() if name not in kinds)
    sizes = {**{name: pieces.get(name, 0.0) for name in kinds}, _OTHER: other}
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
