"""Replies with labels, as data for reward models: a model answers, a reward says what is right, step by step or at all.

Shapes: T tokens of a row.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
import tensorflow_datasets as tfds
from jax.sharding import Mesh

from reasoning.core.artifact import Artifact, Outcome
from reasoning.core.errors import InputError
from reasoning.core.files import read_json, read_jsonl, write_atomic, write_json
from reasoning.core.fingerprints import vouch, vouched
from reasoning.core.mesh import check_room, wait_for_all
from reasoning.core.prng import stage_key
from reasoning.core.program import Program
from reasoning.core.progress import Progress
from reasoning.core.ranges import Size
from reasoning.data.packing import pack_pairs
from reasoning.data.records import write_records
from reasoning.generation.calls import sampling_told
from reasoning.generation.sampler import SamplerSettings
from reasoning.models.flops import forward_flops
from reasoning.rollouts.rating import Reward, check_judged, remarks_on
from reasoning.rollouts.sampling import TruncatedSampling, allowed_by, sampler_for
from reasoning.rollouts.text import encode_prompts
from reasoning.stages.checkpoint import RECORDS, intact, model_of, params_of, tokenizer_of
from reasoning.stages.place import Place, asked_of
from reasoning.stages.programs import model_before, publishing_program
from reasoning.stages.stage import Context, Stage
from reasoning.stages.step_labels import NO_LABEL, Labelled, Steps, Writer, groups_of, labels_of
from reasoning.tasks.problems import Problem
from reasoning.training.first_process import on_first_process
from reasoning.training.preemption import Interrupted

_LABELS = "labels.json"

LABEL_COLUMNS = MappingProxyType(
    {"tokens": np.int32, "positions": np.int32, "segments": np.int32, "labels": np.float32}
)
"""Of rows, with their dtypes."""


@dataclass(frozen=True, kw_only=True)
class LabelReplies(TruncatedSampling):
    """Samples ``start`` on ``problems`` and labels each reply's end by ``right``, with ``steps`` each step's too.

    Of these an outcome or a process reward model is trained (``stages.RewardModel``). Rows hold several replies.
    """

    name: str = ""
    start: Stage
    right: Reward  # 1: a right reply
    length: Size  # tokens of a row; each reply with its prompt must fit
    steps: Steps | None = None  # None: labels at the ends of replies only
    batch: Size = 64  # problems asked at once

    def check(self, mesh: Mesh) -> None:
        """Raises InputError for a problem that ``right`` can't judge, or too many replies at once."""
        check_judged((self.right,), self.problems)
        replies = min(self.batch, self.problems.count) * self.samples
        check_room(replies * self.max_new_tokens, mesh, f"stage {self.name}: the replies to a batch of problems")

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Outcome:
        """Samples and labels batch by batch, each a file of its own, so that what was cut off goes on with the next."""
        self.check(context.mesh)
        for remark in remarks_on((self.right,), self.problems):
            context.warn(f"stage {self.name}: {remark}")
        start, mesh = inputs["start"], context.mesh
        tokenizer, model = tokenizer_of(start), model_of(start, mesh, context.kernels)
        problems = self.problems.problems()
        prompts = encode_prompts(problems, self.chat, tokenizer, self.max_new_tokens, model.config.context)
        longest = max(map(len, prompts))
        self._check_length(longest)
        engine = sampler_for(model, mesh, tokenizer, self.chat, self.samples, self.max_new_tokens, self.slots, longest)
        writer = Writer(self, model, mesh, tokenizer, engine.publish(params_of(start, model, mesh)), longest)
        parts, counts = out / "parts", _Counts()
        parts.mkdir(exist_ok=True)
        batches = -(-len(problems) // self.batch)
        files = [parts / f"{number:06}.jsonl" for number in range(batches)]
        for number, file in enumerate(files):
            if not on_first_process(partial(vouched, file, context.warn)):
                with context.at_once():
                    lines = self._labelled(writer, problems, prompts, number, context.seed)
                if jax.process_index() == 0:
                    write_atomic(file, lines)
                    vouch(file)
                wait_for_all(str(file))
            counts.add(read_jsonl(file))
            context.report(Progress(self.name, number + 1, batches, counts.shown(), counts.tokens))
            signal = context.stop(number + 1)
            if signal is not None and number + 1 < batches:
                raise Interrupted(signal)
        if not counts.labels:
            raise InputError(f"stage {self.name}: no reply was graded, so there are no labels; see its right")
        if jax.process_index() == 0:
            tokenizer.save(out)
            self._write(out, files)
        wait_for_all(self.name)
        if jax.process_index() == 0:
            shutil.rmtree(parts)
        flops = forward_flops(model.config, counts.tokens, self.max_new_tokens)
        return Outcome("records", {**counts.shown(), "tokens": counts.tokens, "flops": flops})

    def programs(self, place: Place) -> tuple[Program, ...]:
        """What ``run`` will compile; only replies tell their steps, so one of each counts in every group of lengths."""
        model, mesh = model_before(self.start, place, self.name), place.mesh
        asked = asked_of(place, self.name, self, self.start, model.config.context)
        self._check_length(asked.longest)
        batches, at_once = -(-asked.prompts // self.batch), min(self.batch, asked.prompts)

        def written(name: str, samples: int, limit: int, longest: int, prompts: int) -> Program:
            settings = SamplerSettings(samples, limit, asked.ends, self.slots, longest)
            return sampling_told(name, model, mesh, settings, prompts, allowed_by(self), batches)

        settings = SamplerSettings(self.samples, self.max_new_tokens, asked.ends, self.slots, asked.longest)
        told = [publishing_program(model, place, settings)]
        told.append(written("sample", self.samples, self.max_new_tokens, asked.longest, at_once))
        if self.steps is not None:
            place.note(f"{self.name}: of each reply one step is gone on with in each group of like length")
            replies = at_once * self.samples
            for number, (longest, room) in enumerate(groups_of(self.max_new_tokens, asked.longest, model.context)):
                told.append(written(f"complete {number}", self.steps.completions, room, longest, replies))
        return tuple(told)

    def _labelled(
        self, writer: Writer, problems: Sequence[Problem], prompts: Sequence[Sequence[int]], number: int, seed: int
    ) -> Iterator[bytes]:
        """The lines of one batch's file: how much was sampled, then its labelled replies."""
        first = number * self.batch
        own = slice(first, first + self.batch)
        rollouts = writer.replies(prompts, first, self.batch, stage_key(seed, self.name))
        key = jax.random.fold_in(stage_key(seed, f"{self.name}/steps"), number)
        found, drawn = labels_of(writer, problems[own], prompts[own], rollouts, self.right, self.steps, key)
        counted = {"sampled": int(rollouts.lengths.size), "tokens": int(rollouts.lengths.sum()) + drawn}
        rows: list[Mapping[str, Any]] = [counted, *map(asdict, found)]
        return ((json.dumps(row, allow_nan=False) + "\n").encode() for row in rows)

    def _write(self, out: Path, files: Sequence[Path]) -> None:
        """Packs all replies; what an earlier run, which was killed, left of that goes."""
        write_json(out / _LABELS, {"separator": self.steps.separator if self.steps else ""})
        shutil.rmtree(out / RECORDS, ignore_errors=True)
        features = {
            name: tfds.features.Tensor(shape=(self.length,), dtype=kind) for name, kind in LABEL_COLUMNS.items()
        }
        replies = (Labelled(**line) for file in files for line in read_jsonl(file)[1:])
        write_records(out / RECORDS, packed(replies, self.length), features)

    def _check_length(self, longest: int) -> None:
        if longest + self.max_new_tokens > self.length:
            raise InputError(
                f"stage {self.name}: a prompt of {longest} tokens and {self.max_new_tokens} new ones don't fit into "
                f"rows of {self.length}; raise {self.name}.length"
            )

    def plan(self) -> dict[str, object]:
        """Sizes for ``run --check``."""
        replies = self.problems.count * self.samples
        return {"replies": replies, "completions of a step": self.steps.completions if self.steps else 0}


def separator_of(artifact: Artifact) -> str:
    """The separator of the steps that an artifact's labels are of; empty where they are of whole replies.

    Raises InputError where the artifact holds no labels.
    """
    file = artifact.path / _LABELS
    if not file.exists():
        raise InputError(
            f"stage {artifact.stage} left no labelled replies; name a stages.LabelReplies as the reward model's data"
        )
    with intact(artifact):
        return str(read_json(file)["separator"])


@dataclass
class _Counts:
    """What the batches so far have given."""

    sampled: int = 0
    tokens: int = 0
    replies: int = 0
    right: float = 0.0
    labels: int = 0
    total: float = 0.0

    def add(self, lines: list[dict[str, Any]]) -> None:
        """Counts one batch's file."""
        self.sampled += lines[0]["sampled"]
        self.tokens += lines[0]["tokens"]
        for line in lines[1:]:
            known = [label for label in line["labels"] if label >= 0]
            self.replies += 1
            self.right += line["labels"][-1]
            self.labels += len(known)
            self.total += sum(known)

    def shown(self) -> dict[str, float]:
        """The numbers of the progress line and of the artifact's results."""
        return {
            "replies": self.replies,
            "right share": self.right / max(self.replies, 1),
            "labels": self.labels,
            "mean label": self.total / max(self.labels, 1),
        }


def packed(replies: Iterable[Labelled], length: int) -> Iterator[dict[str, np.ndarray]]:
    """Rows of ``length`` tokens, each reply with its prompt whole (``packing.first_fit``).

    ``labels`` [T] has a reply's labels where its steps end, and ``NO_LABEL`` everywhere else; padding has segment 0.
    Raises InputError for a reply that is longer than a row.
    """
    for row in pack_pairs(_pairs(replies, length), length):
        labels_T = np.where(row["segments"] > 0, row.pop("numbers").view(np.float32), np.float32(NO_LABEL))
        yield {**row, "labels": labels_T}


def _pairs(replies: Iterable[Labelled], length: int) -> Iterator[np.ndarray]:
    """Each reply's ids behind its prompt's, with their labels' bits [N, 2], since packers take whole numbers."""
    for number, each in enumerate(replies):
        ids = [*each.prompt, *each.reply]
        if len(ids) > length:
            raise InputError(
                f"reply {number} and its prompt have {len(ids)} tokens, and rows {length}; make them longer"
            )
        labels_N = np.full(len(ids), NO_LABEL, np.float32)
        labels_N[len(each.prompt) + np.array(each.ends)] = each.labels
        yield np.stack([np.array(ids, np.int32), labels_N.view(np.int32)], axis=1)
