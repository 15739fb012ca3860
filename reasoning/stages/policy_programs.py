"""The jitted functions of a policy-gradient stage between sampling and the update."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
from jax.sharding import Mesh

from reasoning.kernels.backends import Choice
from reasoning.models.model import Model, without_lora
from reasoning.objectives.advantages import AmongGraded, SelectedAmongGraded
from reasoning.objectives.correction import Correction
from reasoning.stages.reference import Score
from reasoning.training.batches import Aggregation, PolicyBatch
from reasoning.training.policy_rows import Advantage, Selection
from reasoning.training.program import build_assembling, build_assembling_minibatches, build_correcting, build_scoring
from reasoning.training.shared_prompts import ReplyGroups


@dataclass(frozen=True)
class Assembling:
    """How rows and rewards become what updates learn from: the settings of ``training.policy_rows.assemble``."""

    samples: int
    minibatches: int
    advantage: Advantage
    select: Selection
    kl_select: Selection | None
    aggregate: Aggregation
    length: int

    def build(self, mesh: Mesh, *, graded: bool) -> Callable[..., PolicyBatch | tuple[PolicyBatch, ...]]:
        """The jitted function, of groups that are graded as a whole, or of those in which some rewards are NaN."""
        if graded:
            advantage, select, kl_select = self.advantage, self.select, self.kl_select
        else:
            advantage, select = AmongGraded(self.advantage), SelectedAmongGraded(self.select)
            kl_select = None if self.kl_select is None else SelectedAmongGraded(self.kl_select)
        given = (self.samples, advantage, select, self.aggregate, self.length, kl_select)
        if self.minibatches == 1:
            return build_assembling(mesh, *given)
        return build_assembling_minibatches(mesh, self.minibatches, *given)


@dataclass(frozen=True)
class PolicyPrograms:
    """What runs between sampling and an update.

    ``score`` reads the model that trains, ``score_start`` the merged one. ``assemble_graded`` is for batches in which
    some rewards are NaN. ``correct`` is None without a correction.
    """

    score: Score
    score_start: Score
    assemble: Callable[..., PolicyBatch | tuple[PolicyBatch, ...]]
    assemble_graded: Callable[..., PolicyBatch | tuple[PolicyBatch, ...]]
    correct: Callable[[PolicyBatch, jax.Array], PolicyBatch] | None


def policy_programs(
    mesh: Mesh,
    model: Model,
    kernels: Choice,
    temperature: float,
    assembling: Assembling,
    correction: Correction | None,
    groups: ReplyGroups,
) -> PolicyPrograms:
    """The functions for ``model``, which may have adapters; equal arguments give the very same ones."""
    return PolicyPrograms(
        score=build_scoring(model, mesh, temperature, kernels, groups),
        score_start=build_scoring(without_lora(model), mesh, temperature, kernels, groups),
        assemble=assembling.build(mesh, graded=True),
        assemble_graded=assembling.build(mesh, graded=False),
        correct=None
        if correction is None
        else build_correcting(mesh, correction, assembling.aggregate, assembling.length),
    )
