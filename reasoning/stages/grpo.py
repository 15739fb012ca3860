"""Reinforcement learning from verifiable rewards: group-relative policy optimization (arXiv 2402.03300).

Shapes: P prompts of this process, G samples a prompt, B = P * G rows, T time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from reasoning.core import mesh as meshes
from reasoning.core.artifact import Outcome
from reasoning.core.errors import InputError
from reasoning.core.program import Program
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.evaluation.scorers import Scorer
from reasoning.generation.truncation import ALL_TOKENS
from reasoning.kernels.backends import Choice
from reasoning.models.model import Model
from reasoning.rollouts.rating import check_judged, remarks_on
from reasoning.rollouts.record import RolloutLog
from reasoning.rollouts.sampling import truncation_of
from reasoning.stages.checkpoint import REFERENCES, tokenizer_of
from reasoning.stages.from_rewards import FromRewards
from reasoning.stages.learn import Learner, learn
from reasoning.stages.on_policy_programs import asked_on_policy, policy_gradient_programs
from reasoning.stages.place import Place
from reasoning.stages.policy_programs import Assembling, PolicyPrograms, policy_programs
from reasoning.stages.programs import learned_of, trained_model
from reasoning.stages.reference import Reference
from reasoning.stages.reward_model import loaded_scorers
from reasoning.stages.rollout_source import RolloutSource
from reasoning.stages.scorer_programs import scorers_beside
from reasoning.stages.settings import steps_of
from reasoning.stages.stage import Context, LearnsFrom
from reasoning.stages.trainee import (
    Trainee,
    check_on_policy,
    check_rows,
    planned_rollouts,
    planned_steps,
    sampler_of,
    trainee_of,
)
from reasoning.training.checkpoints import Checkpointer
from reasoning.training.losses import policy
from reasoning.training.policy_rows import never_learns
from reasoning.training.shared_prompts import ReplyGroups
from reasoning.training.step import LossFunction


@dataclass(frozen=True, kw_only=True)
class GRPO(FromRewards):
    """Trains ``start`` on problems by sampling a group of replies to each and rewarding them against each other.

    A step samples ``samples`` replies to each of ``questions`` problems, rewards them, and updates ``updates`` times
    on each of ``minibatches``. The total reward is the sum of ``rewards`` by ``reward_weights``. Variations are
    functions: ``loss``, ``advantage``, ``select`` (which groups are learnt from), ``aggregate`` (how tokens weigh),
    ``correction`` (what is made of a sampler that isn't quite the trainer, and must be where ``top_k``, ``top_p`` or
    ``min_p`` leave tokens out); it takes a pass of the trainer's over what was sampled.

    Where ``select`` takes no group, an optimizer's momentum and weight decay still move parameters, as in TRL.
    ``resample`` is DAPO's dynamic sampling and ``mask_truncated`` its overlong filtering (arXiv 2503.14476, sections
    3.2 and 3.4); minibatches and ``reference_every`` are those of R1-Zero (arXiv 2501.12948).
    """

    learns_from: ClassVar[LearnsFrom] = "rewards"

    def check(self, mesh: meshes.Mesh) -> None:
        """Raises InputError where ``mesh`` can't share out the rows of a step, LoRA lacks a target or nothing teaches.

        The last is so where a group is a single reply and ``advantage`` or ``select`` compares it with itself. Also
        for a problem that one of the rewards can't judge.
        """
        check_on_policy(self, mesh)
        check_judged(self.rewards, self.problems)
        _check_minibatches(self, mesh)
        if never_learns(self.advantage, self.select, self.samples):
            raise InputError(
                f"stage {self.name}: samples = {self.samples}, and advantage and select compare the replies of a group "
                "with each other, so nothing is ever learnt; raise samples, or give functions that judge a reply alone"
            )

    def run(self, inputs: Mapping[str, Any], out: Path, context: Context) -> Outcome:
        """Trains and leaves a checkpoint."""
        tokenizer, mesh = tokenizer_of(inputs["start"]), context.mesh
        self.check(mesh)
        for remark in remarks_on(self.rewards, self.problems):
            context.warn(f"stage {self.name}: {remark}")
        trainee = trainee_of(self, inputs["start"], context)
        scorers = loaded_scorers(inputs.get("scorers", ()), tokenizer, self.name, self._rows_at_once, context)
        source = self.source(trainee, tokenizer, out, context, scorers)
        learner = Learner(
            settings=self,
            trainee=trainee,
            tokenizer=tokenizer,
            updates=self.updates,
            minibatches=self.minibatches,
            groups=source.groups,
            loss_fn=self.objective(trainee.model, context.kernels, source.groups),
            shown=("reward", "completions/mean_length", "probe/strict"),
            steps=steps_of(self, len(source.sampler.problems), self.questions),
            tokens_per_step=self.questions * self.samples * self.max_new_tokens,
        )
        return learn(learner, source, out, context)

    @property
    def _rows_at_once(self) -> int:
        return self.questions * self.samples // (self.minibatches * self.microbatches)

    def objective(self, model: Model, kernels: Choice, groups: ReplyGroups) -> LossFunction:
        """The loss of ``model``."""
        scales = {"kl_coefficient": self.kl_coefficient, "temperature": self.temperature}
        return policy(model, loss=self.loss, kl=self.kl, kernels=kernels, groups=groups, **scales)

    def between(self, mesh: meshes.Mesh, model: Model, kernels: Choice, groups: ReplyGroups) -> PolicyPrograms:
        """What runs between sampling and updates."""
        settings = (self.samples, self.minibatches, self.advantage, self.select, self.kl_select)
        assembling = Assembling(*settings, self.aggregate, self.max_new_tokens)
        return policy_programs(mesh, model, kernels, self.temperature, assembling, self.correction, groups)

    def programs(self, place: Place) -> tuple[Program, ...]:
        """What ``run`` will compile."""
        model, truncation = trained_model(self, place), truncation_of(self)
        asked = asked_on_policy(self, place, model)
        groups = self.groups(asked.longest)
        objective, updates = self.objective(model, place.kernels, groups), self.updates * self.minibatches
        learned = learned_of(self, place, model, objective, planned_steps(self), updates)
        between, drawn = (
            self.between(place.mesh, model, place.kernels, groups),
            None if truncation == ALL_TOKENS else truncation,
        )
        needs = {"minibatches": self.minibatches, "scored": self.scored, "referenced": self.kl_coefficient > 0}
        scorers = scorers_beside(self.scorers, self._rows_at_once, place, f"stage {self.name}")
        learned = replace(learned, groups=groups)
        return tuple(policy_gradient_programs(self, learned, asked, between, drawn, scorers, **needs))

    def source(
        self, trainee: Trainee, tokenizer: Tokenizer, out: Path, context: Context, scorers: Mapping[str, Scorer]
    ) -> RolloutSource:
        """Where batches come from. Raises InputError for a prompt that leaves no room for ``max_new_tokens``."""
        mesh = context.mesh
        sampler = replace(sampler_of(self, trainee, tokenizer, context), truncation=truncation_of(self))
        problems = sampler.problems
        updates = steps_of(self, len(problems), self.questions) * self.updates * self.minibatches
        groups = self.groups(sampler.longest_row - self.max_new_tokens).for_updates(updates)
        between = self.between(mesh, trainee.model, context.kernels, groups)
        reference = Reference(
            trainee=trainee,
            every=self.reference_every,
            checkpoints=Checkpointer(out / REFERENCES, context.keep + 1, warn=context.warn),
            score=between.score,
            score_start=between.score_start,
        )
        return RolloutSource(
            stage=self,
            trainee=trainee,
            mesh=mesh,
            sampler=sampler,
            scorers=scorers,
            tokenizer=tokenizer,
            log=RolloutLog(out, self.rollouts_every, problems, tokenizer, self.chat),
            between=between,
            groups=groups,
            reference=reference if self.kl_coefficient > 0 else None,
            clock=context.clock,
        )

    def plan(self) -> dict[str, object]:
        """Sizes for ``run --check``; with ``resample`` those of the steps that sample but once."""
        return planned_rollouts(self)


def _check_minibatches(stage: GRPO, mesh: meshes.Mesh) -> None:
    """Raises InputError where a process's questions, or a minibatch's rows, can't be shared out."""
    processes = len({device.process_index for device in mesh.devices.flat})
    parts = stage.minibatches
    if stage.questions % (parts * processes):
        raise InputError(
            f"stage {stage.name}: {stage.questions} questions can't be split evenly into {parts} minibatches"
            f"{f' on {processes} processes' if processes > 1 else ''}; make them a multiple of {parts * processes}"
        )
    rows = stage.questions // parts * stage.samples
    check_rows(stage.name, rows, stage.microbatches, mesh, f"a minibatch of {rows} rows")
