"""Whether the functions that stages name can be called with what they will get, told before any of them runs."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin

from reasoning.core.errors import InputError
from reasoning.core.signatures import Takes
from reasoning.core.user_code import answering_for_users
from reasoning.experiment.describe import parts_of
from reasoning.experiment.types import hints_of
from reasoning.pipeline.graph import Graph
from reasoning.rewards.reward import Reward
from reasoning.rollouts.rating import check_columns
from reasoning.stages.stage import is_stage
from reasoning.tasks.problems import ProblemSet


def check_rewards(graph: Graph) -> None:
    """Raises InputError for a reward that wants a column which its problems don't have, or can't take theirs.

    All other functions, and what else rewards must take, are checked where settings are read. Problems are drawn only
    where a reward needs it.
    """
    for node in graph.values():
        for part in parts_of(node.stage, _parent):
            problems = getattr(part, "problems", None)
            if isinstance(problems, ProblemSet):
                try:
                    with answering_for_users():
                        check_columns(tuple(dict.fromkeys(_rewards_of(part))), problems)
                except InputError as error:
                    raise InputError(f"stage {node.name}: {error}") from error


def _rewards_of(part: Any) -> Iterator[Reward]:
    """The rewards that the fields of a record hold, and those that these are made from."""
    if not is_dataclass(part) or isinstance(part, type):
        return
    hints = hints_of(type(part))
    for field in fields(part):
        if _holds_rewards(hints[field.name]):
            value = getattr(part, field.name)
            for reward in value if isinstance(value, tuple) else () if value is None else (value,):
                yield reward
                yield from _rewards_of(reward)


def _holds_rewards(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return any(isinstance(mark, Takes) and mark.more for mark in get_args(hint)[1:])
    return any(_holds_rewards(inner) for inner in get_args(hint))


def _parent(value: object) -> object | None:
    return value.name if is_stage(value) else None
