"""What a finished stage left, as notebooks see it: its numbers, its samples, and its model, ready to be asked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.files import read_jsonl
from reasoning.core.mesh import MeshShape
from reasoning.data.chat.format import ChatFormat
from reasoning.evaluation.results import SAMPLES, Replies, Results, read_results, read_samples
from reasoning.experiment.restore import restore
from reasoning.training.metrics import rollout_files
from reasoning.use.tables import metrics_table, scores_table

if TYPE_CHECKING:
    from reasoning.use.loaded_model import LoadedModel


@dataclass(frozen=True)
class StageResults(Artifact):
    """What ``r.open('runs/r1_tiny')['zero']`` gives: an artifact, and all that it holds. Read when it is asked for."""

    others: Callable[[], tuple[Artifact, ...]] = tuple  # what its run has finished, for what a stage was made from

    def scores(self) -> Results:
        """The tables of an evaluation. Raises InputError for a stage that left none."""
        return read_results(self.path)

    def scores_table(self) -> pa.Table:
        """The same as one table (``use.tables.scores_table``). Raises what ``scores`` raises."""
        return scores_table(self.scores())

    def metrics_table(self) -> pa.Table:
        """What ``metrics`` gives as a table with a column each (``use.tables.metrics_table``)."""
        return metrics_table(self.metrics())

    def replies(self) -> tuple[Replies, ...]:
        """What a collecting or an evaluating stage was answered, by problem and method; empty for others."""
        file = self.path / SAMPLES
        return read_samples(file) if file.exists() else ()

    def probes(self) -> list[dict[str, Any]]:
        """What the model answered to the same few questions as it learnt; empty where it wasn't probed."""
        file = self.path / "probes.jsonl"
        return read_jsonl(file) if file.exists() else []

    def steps(self) -> tuple[int, ...]:
        """The steps whose completions were kept, counted from 1."""
        return tuple(rollout_files(self.path))

    def rollouts(self, step: int | None = None) -> pa.Table:
        """What the stage sampled at a step, or at all steps: one row a completion, with rewards and log-probabilities.

        Raises InputError where it kept none, or none of that step.
        """
        return read_rollouts(self.path, self.stage, step)

    def records(self) -> list[dict[str, Any]]:
        """The rows of the data set that a collecting or preparing stage left, texts as ``str``.

        Raises InputError for a stage that left none.
        """
        from reasoning.data.records import read_records, take_rows  # As below.

        if self.kind != "records":
            raise InputError(f"stage {self.stage} left {self.kind}, no records; name a stage that collects or prepares")
        rows = read_records(self.records_folder)
        return [
            {name: value.decode() if isinstance(value, bytes) else value for name, value in row.items()}
            for row in take_rows(rows, range(len(rows)))
        ]

    def model(self, chat: ChatFormat | None = None, mesh: MeshShape | None = None) -> "LoadedModel":
        """The trained model, to be asked.

        ``chat`` is the format that it was trained with, by default what ``trained_chat`` finds; ``mesh`` says how it is
        spread over the devices at hand, by default the data axis takes all of them. Raises InputError for a stage that
        left no checkpoint.
        """
        from reasoning.use.loaded_model import load_artifact  # With all that training needs, which takes seconds.

        return load_artifact(self, chat or self.trained_chat(), mesh or MeshShape())

    def trained_chat(self) -> ChatFormat | None:
        """The format in the settings of a stage, or of the nearest that it was made from: its data's, its start's."""
        own = self.record()
        if chat := chat_of(own.get("settings")):
            return chat
        records = {artifact.hash: artifact.record() for artifact in self.others()}
        waiting, seen = _parents(own), {self.hash}
        while waiting:
            digest = waiting.pop(0)
            record = records.get(digest, {})
            if digest not in seen and (chat := chat_of(record.get("settings"))):
                return chat
            seen.add(digest)
            waiting += [parent for parent in _parents(record) if parent not in seen]
        return None


def read_rollouts(folder: Path, stage: str, step: int | None = None) -> pa.Table:
    """The completions that a stage kept in its folder, of one step or of all.

    Raises InputError where there are none, none of that step (saying which there are), or the file is damaged.
    """
    files = rollout_files(folder)
    if not files:
        raise InputError(f"stage {stage} kept no rollouts; stages that sample as they learn do, see rollouts_every")
    if step is not None and step not in files:
        raise InputError(f"stage {stage} kept no rollouts of step {step}; it kept {spans(tuple(files))}")
    tables = []
    for path in files.values() if step is None else (files[step],):
        try:
            tables.append(pq.read_table(path))
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path} is damaged ({error}); --from {stage} makes the stage anew") from None
    return pa.concat_tables(tables, promote_options="default")


def spans(steps: Sequence[int]) -> str:
    """Steps in words, runs of neighbours shortened: ``1 to 40, 45``."""
    parts: list[list[int]] = []
    for step in steps:
        if parts and step == parts[-1][-1] + 1:
            parts[-1].append(step)
        else:
            parts.append([step])
    return ", ".join(f"{part[0]} to {part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


def _parents(record: Mapping[str, Any]) -> list[str]:
    parents = record.get("parents", {})
    lists = [parents[name] for name in sorted(parents)] if isinstance(parents, dict) else []
    return [digest for each in lists if isinstance(each, list) for digest in each if isinstance(digest, str)]


def chat_of(settings: Any) -> ChatFormat | None:
    """The chat format in a stage's recorded settings, its own or its probe's; None where they have none.

    Raises InputError where what it names isn't found here.
    """
    for holder in (settings, settings.get("probe")) if isinstance(settings, Mapping) else ():
        described = holder.get("chat") if isinstance(holder, Mapping) else None
        if isinstance(described, Mapping) and "@" in described:
            try:
                restored = restore(described)
                if not isinstance(restored, ChatFormat):
                    raise InputError(f"@{described['@']} is no chat format")
                return restored
            except InputError as error:
                raise InputError(
                    f"the recorded chat format can't be read: {error}; start where its module lies, or name a format"
                ) from error
    return None
