"""Reward models: a trained model learns from labelled replies how probable it is that a reply, or a step, is right.

What its data has labels of decides what it is: of replies' ends an outcome reward model (Training Verifiers, arXiv
2110.14168), of steps' ends a process reward model (Math-Shepherd, arXiv 2312.08935).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar

import jax
import numpy as np
from jax.sharding import Mesh

from reasoning.core import mesh as meshes
from reasoning.core.artifact import Artifact, Outcome
from reasoning.core.errors import InputError
from reasoning.core.files import read_json, write_atomic
from reasoning.core.mesh import local_rows, rows_of_all_processes, wait_for_all
from reasoning.core.program import Program
from reasoning.core.ranking import ranked_right
from reasoning.data.records import RandomAccessRows, read_records, take_rows
from reasoning.data.tokenizers.comparison import tokenizer_difference
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.evaluation.reward_scorer import NO_MARK, ForeseenScorer, RewardScorer, head_flops
from reasoning.evaluation.scorers import Scorer
from reasoning.kernels.backends import Choice
from reasoning.models.heads import DECODER, HEAD, Head, with_head
from reasoning.models.model import Model, build_model, parameter_shardings
from reasoning.models.parameters import Params
from reasoning.stages.checkpoint import check_data, intact, model_of, params_of, read_model, read_params, tokenizer_of
from reasoning.stages.held_out import filled_up, split_rows, token_sum
from reasoning.stages.label_replies import LABEL_COLUMNS, separator_of
from reasoning.stages.place import Place, row_length
from reasoning.stages.programs import model_before, row_shapes, split_by_rows
from reasoning.stages.row_programs import programs_on_rows
from reasoning.stages.rows import train_on_rows
from reasoning.stages.settings import OnRows
from reasoning.stages.stage import Context, LearnsFrom, Stage
from reasoning.stages.trainee import Trainee, check_on_rows, planned_rows
from reasoning.training.program import build_labelling
from reasoning.training.scoring import build_judging, labelled

_HEAD = "head.json"
_PASSES = {"update": 3, "held out: loss": 1}
"""Forward passes that programs on rows take, or as much."""


@dataclass(frozen=True, kw_only=True)
class RewardModel(OnRows):
    """Trains ``start`` with a head of one logit, which begins at 0, on the labelled replies of ``data``.

    The loss is the binary cross-entropy at labelled places. Of rows that are held out the results tell how the model
    judges: ``accuracy``, the share on the label's side of ½, and ``auc``, how often of two places the one with a label
    above ½ is the one judged higher.
    """

    learns_from: ClassVar[LearnsFrom] = "examples"

    start: Stage

    def check(self, mesh: Mesh) -> None:
        """Raises InputError where the rows of a step can't be shared out on ``mesh``."""
        if self.probe is not None or (self.best is not None and self.best.exam is not None):
            raise InputError(
                f"stage {self.name}: a reward model writes no replies, so no exam can probe it or tell the best; hold "
                "out rows instead"
            )
        check_on_rows(self, mesh)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Outcome:
        """Trains and leaves a scorer; InputError where the data holds no labels, or is of another tokenizer."""
        self.check(context.mesh)
        start, mesh, separator = inputs["start"], context.mesh, separator_of(inputs["data"])
        tokenizer = tokenizer_of(start)
        check_data(inputs, tokenizer, self.name)
        decoder, head = model_of(start, mesh, context.kernels), Head()
        model = with_head(decoder, head)
        trainee = Trainee(model, lambda: _beginning(decoder, head, params_of(start, decoder, mesh), mesh))
        loss_fn = labelled(model, head)
        outcome = train_on_rows(
            self, inputs["data"], trainee, tokenizer, loss_fn, out, context, batching=build_labelling
        )
        write_head(out, head, separator, NO_MARK)
        _, held = split_rows(self, read_records(inputs["data"].records_folder), context.seed)
        results = dict(outcome.results)
        if len(held):
            params = read_params(out, model, mesh)
            results |= _judgement(model, head, mesh, params, held, self.batch // self.microbatches)
        return replace(outcome, kind="scorer", results=results)

    def programs(self, place: Place) -> tuple[Program, ...]:
        """What ``run`` will compile."""
        mesh, head = place.mesh, Head()
        model = with_head(model_before(self.start, place, self.name), head)
        loss_fn, length = labelled(model, head), row_length(self.name, self.data)
        learning = programs_on_rows(self, place, model, loss_fn, columns=LABEL_COLUMNS, batching=build_labelling)
        told = [
            replace(one, flops=passes * head_flops(model.config, head, one.tokens, length)) if passes else one
            for one in learning
            for passes in [_PASSES.get(one.name, 0)]
        ]
        if self.held_out:
            batch = self.batch // self.microbatches
            rows = row_shapes(mesh, batch, length, LABEL_COLUMNS)
            labelled_rows = split_by_rows(mesh, build_labelling(mesh, token_sum, length), rows)
            judge = ForeseenScorer(model, head, mesh).judging("judge", labelled_rows.rows)
            told.append(replace(judge, calls=-(-self.held_out // batch)))
        return tuple(told)

    def foreseen(self, place: Place) -> ForeseenScorer:
        """The scorer that will be left."""
        head = Head()
        return ForeseenScorer(with_head(model_before(self.start, place, self.name), head), head, place.mesh)

    def plan(self) -> dict[str, object]:
        """Sizes for ``run --check``."""
        return planned_rows(self)


def _beginning(decoder: Model, head: Head, params: Params, mesh: Mesh) -> Params:
    """The decoder's own parameters with a head that says ½."""
    places = parameter_shardings(with_head(decoder, head), mesh)[HEAD]
    return {DECODER: params, HEAD: jax.jit(lambda: head.zeros(decoder.config.width), out_shardings=places)()}


def _judgement(
    model: Model, head: Head, mesh: Mesh, params: Params, rows: RandomAccessRows, batch: int
) -> dict[str, float]:
    """How a reward model judges labelled rows, so many at once."""
    build, judging = build_labelling(mesh, token_sum, len(rows[0]["tokens"])), build_judging(model, head, mesh)
    share, index = batch // jax.process_count(), jax.process_index()
    given: list[np.ndarray] = []
    told: list[np.ndarray] = []
    for start in range(0, len(rows), batch):
        own = range(start + index * share, start + (index + 1) * share)
        taken = take_rows(rows, [number for number in own if number < len(rows)])
        labelled_rows = build(meshes.to_global(mesh, filled_up(taken, rows[0], share)))
        values_BT, labels_BT, mask_BT = (
            rows_of_all_processes(local_rows(each))
            for each in (judging(params, labelled_rows.rows), labelled_rows.labels, labelled_rows.mask)
        )
        given.append(values_BT[mask_BT > 0])
        told.append(labels_BT[mask_BT > 0] > 0.5)
    judged, right = np.concatenate(given), np.concatenate(told)
    if not judged.size:
        return {}
    found = {"accuracy": float(((judged > 0.5) == right).mean())}
    # Where all are of one kind, none is before another, and JSON has no NaN.
    return found if right.all() or not right.any() else found | {"auc": ranked_right(judged, right)}


def write_head(out: Path, head: Head, separator: str, mark: int) -> None:
    """Writes beside a headed model's parameters what its head is, and where it is read."""
    if jax.process_index() == 0:
        content = {**asdict(head), "separator": separator, "mark": mark}
        write_atomic(out / _HEAD, json.dumps(content, indent=1) + "\n")
    wait_for_all(str(out / _HEAD))


def loaded_scorers(
    artifacts: Sequence[Artifact], tokenizer: Tokenizer, stage: str, batch: int, context: Context
) -> dict[str, Scorer]:
    """The reward models that a ``stage`` asks about replies in ``tokenizer``'s ids, by their stages' names.

    ``batch`` replies are read at once. Raises InputError for a reward model of another tokenizer.
    """
    for artifact in artifacts:
        difference = tokenizer_difference(tokenizer_of(artifact), tokenizer)
        if difference is not None:
            raise InputError(
                f"{stage}: the scorer {artifact.stage} reads other tokens than the checkpoints that it judges "
                f"({difference}); train it on one of their line"
            )
    return {artifact.stage: scorer_of(artifact, context.mesh, context.kernels, batch) for artifact in artifacts}


def scorer_of(artifact: Artifact, mesh: Mesh, kernels: Choice, batch: int) -> RewardScorer:
    """The scorer that a stage left, with its parameters on ``mesh``; ``batch`` replies are read at once.

    Raises InputError where the artifact is none.
    """
    if artifact.kind != "scorer":
        raise InputError(f"stage {artifact.stage} left {artifact.kind}, no scorer; name a stages.RewardModel")
    with intact(artifact):
        told = read_json(artifact.path / _HEAD)
        head = Head(hidden=told["hidden"], classes=told["classes"])
        model = with_head(build_model(read_model(artifact.path), mesh, kernels), head)
        params = read_params(artifact.path, model, mesh)
    return RewardScorer(model, head, mesh, params, batch, told["separator"], told["mark"])
