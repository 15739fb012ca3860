"""Rows of question files that a stage's settings pass over, told and kept before the stage begins."""

from pathlib import Path

from reasoning.core.user_code import answering_for_users
from reasoning.data.bad_rows import PassesOver, keep_bad_rows, listed
from reasoning.experiment.describe import parts_of
from reasoning.pipeline.graph import StageNode
from reasoning.stages.stage import is_stage


def bad_rows_of(node: StageNode, folder: Path) -> str:
    """What to say of the rows that a stage's own settings pass over; they are listed in ``folder``. Empty for none.

    Raises InputError as reading them does.
    """
    parts = [part for part in parts_of(node.stage, _parent) if isinstance(part, PassesOver)]
    with answering_for_users():
        told = dict.fromkeys(row for part in parts if not isinstance(part, type) for row in part.bad_rows())
    keep_bad_rows(folder, told)
    return f"{len(told)} bad rows are passed over (skip_bad):{listed(told)}" if told else ""


def _parent(value: object) -> object | None:
    return value.name if is_stage(value) else None
