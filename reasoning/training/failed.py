"""The batch that stopped a run, kept whole beside the state that it met, so that its step can be looked at elsewhere.

A skipped update changes no parameter, so the state after the last of several is also the one before them. Where a step
has several updates and not all were skipped, that holds for the last of them, and the others' numbers may differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from reasoning.core.errors import InputError
from reasoning.core.files import read_json
from reasoning.core.mesh import row_sharding
from reasoning.training.batches import Corrected, PolicyBatch, TokenBatch, rows_of, with_room
from reasoning.training.checkpoints import CURSOR, Checkpointer, load_params, params_shapes
from reasoning.training.state import TrainState

_RECORDS = (TokenBatch, PolicyBatch, Corrected)


@dataclass(frozen=True)
class FailedStep:
    """A step, counted from 1, whose update was skipped as the last of too many: what it learnt from, and what it gave.

    ``state`` is what trained, ``batch`` what the step was given, several minibatches as a tuple. ``key`` is the data of
    the step's own random key, ``metrics`` what the step told.
    """

    step: int
    key: tuple[int, ...]
    metrics: Mapping[str, float]
    state: TrainState
    batch: Any


def keep_failed(checkpointer: Checkpointer, failed: FailedStep) -> Path:
    """Writes a failed step as a checkpoint that also holds its batch, and gives its folder.

    Raises InputError where it can't be written.
    """
    # As texts, since JSON has no NaN; ``float`` reads them back to the last bit.
    metrics = {name: repr(float(value)) for name, value in failed.metrics.items()}
    tree = {"state": failed.state, "batch": _plain(failed.batch)}
    told = {"step": failed.step, "key": list(failed.key), "metrics": metrics, "rooms": _rooms(failed.batch)}
    checkpointer.save(failed.step, tree, told)
    return checkpointer.path(failed.step)


def read_failed(folder: Path, abstract: TrainState, mesh: Mesh) -> FailedStep:
    """What ``keep_failed`` wrote, the state laid out as ``abstract``, the batch by rows on ``mesh``.

    Raises InputError where it is missing or damaged, or of another model.
    """
    step, key, metrics = told_of_failed(folder)
    rows = row_sharding(mesh)
    places = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=rows), params_shapes(folder)["batch"]
    )
    found = load_params(folder, {"state": abstract, "batch": places})
    batch = _in_rooms(_records(found["batch"]), read_json(folder / CURSOR).get("rooms", []))
    return FailedStep(step, key, metrics, found["state"], batch)


def told_of_failed(folder: Path) -> tuple[int, tuple[int, ...], dict[str, float]]:
    """Step, key and metrics of a failed step, without its arrays. Raises InputError where the folder holds none."""
    told = read_json(folder / CURSOR)
    try:
        return (
            int(told["step"]),
            tuple(int(word) for word in told["key"]),
            {name: float(text) for name, text in told["metrics"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(f"{folder} holds no failed step; name the folder of one, or the run that kept it") from None


def _plain(batch: Any) -> Any:
    """A batch as nested dicts, which a checkpoint's manifest can tell again."""
    if isinstance(batch, tuple):
        return {str(place): _plain(part) for place, part in enumerate(batch)}
    if isinstance(batch, _RECORDS):
        given = {each.name: getattr(batch, each.name) for each in fields(batch)}
        return {name: _plain(value) for name, value in given.items() if name != "room" and value is not None}
    return batch


def _rooms(batch: Any) -> list[int | None]:
    """The room of each minibatch's replies, which is no array but a part of the program's shape."""
    parts = batch if isinstance(batch, tuple) else (batch,)
    return [rows_of(part).room for part in parts if isinstance(part, TokenBatch | PolicyBatch)]


def _in_rooms(batch: Any, rooms: Sequence[int | None]) -> Any:
    """The batch with what ``_rooms`` told of it."""
    if isinstance(batch, tuple):
        return tuple(_in_rooms(part, rooms[place : place + 1]) for place, part in enumerate(batch))
    return with_room(batch, rooms[0]) if rooms else batch


def _records(tree: Any) -> Any:
    """A batch from what ``_plain`` made of it."""
    if not isinstance(tree, dict):
        return tree
    parts = {name: _records(value) for name, value in tree.items()}
    if all(name.isdigit() for name in parts):
        return tuple(parts[str(place)] for place in range(len(parts)))
    if "rows" in parts:
        absent: dict[str, Any] = {"old_log_probs": None, "reference_log_probs": None}
        return PolicyBatch(**(absent | parts))
    return Corrected(**parts) if "drawn" in parts else TokenBatch(**parts) if "targets" in parts else parts
