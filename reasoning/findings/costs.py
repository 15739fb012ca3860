"""Tokens and floating-point operations: what a run took, stage by stage and in all."""

from collections.abc import Iterable, Mapping

from reasoning.findings.facts import Facts
from reasoning.findings.numbers import large
from reasoning.findings.stages import StageFacts

COUNTED = ("tokens", "flops")


def totals(facts: Facts) -> dict[str, float]:
    """Tokens and FLOPs of all stages that counted them."""
    return summed(map(costs, facts.stages))


def summed(every: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Costs of several stages together."""
    found = [*every]
    return {what: sum(each) for what in COUNTED if (each := [cost[what] for cost in found if what in cost])}


def counted(stage: StageFacts) -> str:
    """A stage's tokens and FLOPs in words; empty where it counted none."""
    return cost_words(costs(stage))


def cost_words(counts: Mapping[str, float]) -> str:
    """``2.35 M tokens and 15.7 T FLOPs``."""
    return " and ".join(f"{large(count)} {'FLOPs' if what == 'flops' else what}" for what, count in counts.items())


def costs(stage: StageFacts) -> dict[str, float]:
    """What models read and wrote; the tokens of records that took no operations were only packed."""
    return counted_of(stage.holds, stage.results)


def counted_of(holds: str, results: Mapping[str, float]) -> dict[str, float]:
    """The costs among the results of an artifact of some kind."""
    if holds == "records" and "flops" not in results:
        return {}
    return {name: value for name, value in results.items() if name in COUNTED}


def total_sentence(facts: Facts) -> str:
    """Tokens and FLOPs in all, in words; empty where no stage counted any."""
    told = cost_words(totals(facts))
    return f"In all {told}, as far as stages counted them." if told else ""
