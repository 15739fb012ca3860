"""What a plan says: whether it fits, what it takes at least, and what would help, in words."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from reasoning.findings.numbers import fixed, large
from reasoning.pipeline.graph import build_graph
from reasoning.planning.plan import Plan, Planned
from reasoning.planning.search import Ranked
from reasoning.planning.trying import Helped
from reasoning.stages.settings import Learning

GIB = 2**30
OTHER, _TEMPORARIES = "other arguments", "temporaries and results"
_NAMED = 6
_SEEN = 0.005
"""The least share of the fullest bar that a kind has a name in the legend for."""

_SPOKEN = {"params": "parameters"}


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
        untold = any(one.found.refusal for one in plan.programs if stage in (None, one.stage))
        rest = "; what the compiler refused isn't counted" if untold else ""
        yield f"{stage or 'in all'}: at least {time}, {hours:,.3g} chip-hours{cost}{rest}"


def search_lines(ranked: Sequence[Ranked]) -> Iterator[str]:
    """How the fastest settings that were found stand to the file's own, and what to write to have them."""
    best, [own] = ranked[0], [each for each in ranked if each.choice.own]
    if not best.fits:
        yield "nothing that was compiled fits; take more or larger chips"
    elif best is own:
        yield "nothing faster was found than the file's own settings"
    else:
        beside = "fits, which the file's own settings don't"
        if own.fits:
            beside = f"takes {best.seconds / own.seconds:.0%} of the time of the file's own settings"
        stages = [each.stage for each in build_graph(best.choice.run.stages).values()]
        split = [f"{each.name}.microbatches {each.microbatches}" for each in stages if isinstance(each, Learning)]
        settings = "; ".join((mesh_words(best.choice.mesh), *split, f"remat '{best.choice.remat}'"))
        yield f"the fastest {beside}: {settings}"


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


def chips_words(plan: Plan) -> str:
    """What is planned for: its name, how many chips, and what JAX calls them."""
    return f"{plan.topology}: {plan.chips} chip{'s' if plan.chips > 1 else ''} ({plan.kind})"


def mesh_words(mesh: Mapping[str, int]) -> str:
    """A mesh's axes with their sizes."""
    return "mesh: " + ", ".join(f"{axis} {size}" for axis, size in mesh.items())


def held_by_kind(one: Planned) -> dict[str, float]:
    """Bytes by kind; what lies beside a program counts to the kind that it is of elsewhere."""
    pieces: dict[str, float] = {}
    for name, size in (*one.arguments.items(), *one.beside.items()):
        pieces[_SPOKEN.get(name, name)] = pieces.get(_SPOKEN.get(name, name), 0.0) + size
    pieces[_TEMPORARIES] = max(one.found.memory - sum(one.arguments.values()), 0.0)
    return pieces


def largest_kinds(pieces: Iterable[Mapping[str, float]]) -> tuple[str, ...]:
    """The kinds that are largest anywhere and can be seen, then the others together, then what programs make."""
    most: dict[str, float] = {}
    fullest = 0.0
    for each in pieces:
        fullest = max(fullest, sum(each.values()))
        for name, size in each.items():
            most[name] = max(most.get(name, 0.0), size)
    most.pop(_TEMPORARIES, None)
    seen = [name for name in most if most[name] >= _SEEN * fullest]
    named = sorted(seen, key=lambda name: -most[name])[:_NAMED]
    return (*named, OTHER, _TEMPORARIES)


def gib(size: float) -> str:
    """Bytes in GiB, as memory is counted."""
    return fixed(size / GIB, 2)


def size_words(size: float) -> str:
    """Bytes by the powers of ten that bandwidths have."""
    return f"{large(size)}B" if size >= 1e4 else f"{size:.0f} B"


def duration(seconds: float) -> str:
    """A time, short."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"
