"""Jumps of one reward that the others don't follow, in a stage's record, and what is said of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reasoning.core.jumps import Jump, Roles, find_jumps
from reasoning.core.series import Points
from reasoning.findings.curves import series_of
from reasoning.findings.numbers import short
from reasoning.findings.stages import StageFacts, mapping


def jumps(stage: StageFacts) -> tuple[Jump, ...]:
    """``core.jumps.find_jumps`` of a stage's metrics.

    Kept rollouts name the rewards in the order of ``reward_weights``; without them a weight that can't be told by name
    counts as not 0.
    """
    roles = _roles(stage)
    probes = {name: points for name in roles.scores if (points := _points(stage.metrics, f"probe/{name}"))}
    return find_jumps(dict(_means(stage.metrics)), probes, roles)


def jump_words(jump: Jump) -> str:
    """A jump as a sentence."""
    others = "; ".join(f"{name} {short(low)} → at most {short(high)}" for name, (low, high) in jump.others.items())
    return (
        f"{jump.reward} jumped from {short(jump.before)} to {short(jump.after)} about step {jump.step}, and what "
        f"could have followed did not ({others}): see by its best-rewarded replies whether it was earned"
    )


def _roles(stage: StageFacts) -> Roles:
    """Rewards that are known to weigh nothing, the one that is ``correct`` (or empty), and the probe's scores, by name.

    A setting is named by its function; a record of settings only where kept rollouts name the rewards in their order.
    """
    rewards, weights = _listed(stage.settings.get("rewards")), _listed(stage.settings.get("reward_weights"))
    kept = [] if stage.best is None else list(stage.best.rewards)

    def name_of(setting: Any) -> str:
        if len(kept) == len(rewards) and setting in rewards:
            return kept[rewards.index(setting)]
        return setting.rpartition(".")[2] if isinstance(setting, str) else ""

    weightless = {name_of(reward) for reward, weight in zip(rewards, weights, strict=False) if not weight}
    scores = filter(None, map(name_of, _listed(mapping(stage.settings.get("probe")).get("scores"))))
    return Roles(frozenset(weightless), name_of(stage.settings.get("correct")), tuple(scores))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _means(metrics: Sequence[Mapping[str, Any]]) -> Iterable[tuple[str, Points]]:
    """Each reward's mean over the steps, by the reward's name."""
    names = dict.fromkeys(name for row in metrics for name in row)
    for name in names:
        reward = name.removeprefix("rewards/").removesuffix("/mean")
        if name == f"rewards/{reward}/mean" and "/" not in reward:
            yield reward, _points(metrics, name)


def _points(metrics: Sequence[Mapping[str, Any]], name: str) -> Points:
    series = series_of(metrics, name)
    return () if series is None else series.raw
