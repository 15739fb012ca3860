"""The workflow as boxes and arrows: which stage was made from which, each with the numbers that it ended with."""

from dataclasses import dataclass
from typing import Literal

BoxStyle = Literal["model", "data", "exam", "unfinished"]
Holds = Literal["weights", "data"]


@dataclass(frozen=True)
class Box:
    """A stage: its name, what it does, short lines with its numbers, the main one, and the course of its learning."""

    name: str
    kind: str
    group: BoxStyle
    lines: tuple[str, ...]
    main: str = ""
    course: tuple[float, ...] = ()


@dataclass(frozen=True)
class Arrow:
    """``target`` was made from ``source``, which gave it weights or data."""

    source: str
    target: str
    holds: Holds


@dataclass(frozen=True)
class Workflow:
    """Boxes in the run's order, parents first, and arrows between them.

    Exams are boxes without arrows: they measure almost everything, and arrows to them would hide the others.
    """

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def depths(flow: Workflow) -> dict[str, int]:
    """How far down each box stands: one below its deepest parent, or without parents one above its first child."""
    depth: dict[str, int] = {}
    for box in flow.boxes:
        above = [depth[arrow.source] for arrow in flow.arrows if arrow.target == box.name and arrow.source in depth]
        depth[box.name] = max(above, default=-1) + 1
    targets = {arrow.target for arrow in flow.arrows}
    for box in flow.boxes:
        below = [depth[arrow.target] for arrow in flow.arrows if arrow.source == box.name]
        if box.name not in targets and below:
            depth[box.name] = min(below) - 1
    return depth


def connected(flow: Workflow) -> tuple[tuple[Box, ...], tuple[Box, ...]]:
    """The boxes of the picture proper, and the exams, which stand below it."""
    exams = tuple(box for box in flow.boxes if box.group == "exam")
    return tuple(box for box in flow.boxes if box.group != "exam"), exams
