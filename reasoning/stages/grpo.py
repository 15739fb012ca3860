"""Reinforcement learning from verifiable rewards: group-relative policy optimization (arXiv 2402.03300).

Shapes: P prompts of this process, G samples a prompt, B = P * G rows, T time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np

from reasoning.core import mesh as meshes
from reasoning.core.artifact import Artifact, Outcome
from reasoning.core.errors import InputError
from reasoning.core.program import Program
from reasoning.core.ranges import Few, Index, NonNegative, Size
from reasoning.core.stopwatch import Stopwatch
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.generation.truncation import ALL_TOKENS
from reasoning.kernels.backends import Choice
from reasoning.models.model import Model
from reasoning.objectives.advantages import SelectedAmongGraded, group_normalized, groups_with_signal
from reasoning.objectives.correction import Correction
from reasoning.objectives.kl import KLEstimate, k3
from reasoning.objectives.policy import Clipped, Surrogate
from reasoning.rollouts.prompt_sampler import PromptSampler, Sampled, epoch_metric, sampling_cost, scoring_flops
from reasoning.rollouts.rating import Reward, check_judged, check_names, rate, remarks_on, reward_name
from reasoning.rollouts.record import Judged, RolloutLog, of_completions
from reasoning.rollouts.rewarded import Rewarded, first_with_signal, joined, rollout_metrics, total_rewards
from reasoning.rollouts.sampling import TruncatedSampling, truncation_of
from reasoning.stages.checkpoint import REFERENCES, tokenizer_of
from reasoning.stages.learn import Learner, learn, minibatches_of
from reasoning.stages.on_policy_programs import policy_gradient_programs
from reasoning.stages.place import Place
from reasoning.stages.policy_programs import Assembling, PolicyPrograms, policy_programs
from reasoning.stages.programs import learned_of, trained_model
from reasoning.stages.reference import Reference
from reasoning.stages.settings import OnPolicy, steps_of
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
from reasoning.training.batches import PolicyBatch
from reasoning.training.checkpoints import Checkpointer
from reasoning.training.losses import policy
from reasoning.training.policy_rows import Advantage, Selection, never_learns, of_whole, selected_groups
from reasoning.training.state import TrainState
from reasoning.training.step import LossFunction


@dataclass(frozen=True, kw_only=True)
class GRPO(OnPolicy, TruncatedSampling):
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

    rewards: tuple[Reward, ...]
    reward_weights: tuple[float, ...]
    correct: Reward | None = (
        None  # the one of rewards that says which replies are right, for the metric of their length
    )
    updates: Few = 1  # passes over the same rollouts; 1 is strictly on-policy …
    minibatches: Size = 1  # … unless they are split into several parts of whole groups, each with an optimizer step
    loss: Surrogate = Clipped()
    kl_coefficient: NonNegative = 0.0  # above 0: KL to the frozen start …
    kl: KLEstimate = k3  # … as this function estimates it …
    kl_select: Selection | None = None  # … over these groups (None: those of select) …
    reference_every: Index = 0  # … or, every so many steps (0: never), to the policy as it is then
    advantage: Advantage = group_normalized
    select: Selection = groups_with_signal
    correction: Correction | None = None  # importance weights for what the sampler does otherwise than the trainer
    mask_truncated: bool = False  # replies that the limit cut off carry no loss; their rewards count in their group
    resample: Index = 0  # so many more times at most a step samples new questions, until all groups are of select

    def __post_init__(self) -> None:
        if len(self.rewards) != len(self.reward_weights) or not self.rewards:
            raise InputError(
                f"{len(self.rewards)} rewards have {len(self.reward_weights)} reward_weights; give one weight a reward"
            )
        if not any(self.reward_weights):
            raise InputError("all reward_weights are 0, so no reply is better than another; give one reward a weight")
        check_names(self.rewards, "rewards")
        if self.correct is not None and self.correct not in self.rewards:
            raise InputError(f"correct is {reward_name(self.correct)}, which is not among rewards; name one of them")
        if self.kl_coefficient == 0 and (self.reference_every or self.kl_select is not None):
            raise InputError(
                "reference_every and kl_select say how KL is measured, and kl_coefficient is 0, so it isn't; raise "
                "kl_coefficient or drop them"
            )
        if self.correction is None and truncation_of(self) != ALL_TOKENS:
            raise InputError(
                f"top_k {self.top_k}, top_p {self.top_p} and min_p {self.min_p} sample from a part of what the policy "
                "would write, and the gradient is that of all of it; name a correction, such as "
                "objectives.correction.TruncatedImportance, or sample from all tokens"
            )

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

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Outcome:
        """Trains and leaves a checkpoint."""
        tokenizer, mesh = tokenizer_of(inputs["start"]), context.mesh
        self.check(mesh)
        for remark in remarks_on(self.rewards, self.problems):
            context.warn(f"stage {self.name}: {remark}")
        trainee = trainee_of(self, inputs["start"], context)
        source = self.source(trainee, tokenizer, out, context)
        learner = Learner(
            settings=self,
            trainee=trainee,
            tokenizer=tokenizer,
            updates=self.updates,
            minibatches=self.minibatches,
            loss_fn=self.objective(trainee.model, context.kernels),
            shown=("reward", "completions/mean_length", "probe/strict"),
            steps=steps_of(self, len(source.sampler.problems), self.questions),
            tokens_per_step=self.questions * self.samples * self.max_new_tokens,
        )
        return learn(learner, source, out, context)

    def objective(self, model: Model, kernels: Choice) -> LossFunction:
        """The loss of ``model``."""
        scales = {"kl_coefficient": self.kl_coefficient, "temperature": self.temperature}
        return policy(model, loss=self.loss, kl=self.kl, kernels=kernels, **scales)

    def between(self, mesh: meshes.Mesh, model: Model, kernels: Choice) -> PolicyPrograms:
        """What runs between sampling and updates."""
        groups = (self.samples, self.minibatches, self.advantage, self.select, self.kl_select)
        assembling = Assembling(*groups, self.aggregate, self.max_new_tokens)
        return policy_programs(mesh, model, kernels, self.temperature, assembling, self.correction)

    @property
    def scored(self) -> bool:
        """Whether the trainer's own log-probabilities of what was sampled are needed before an update.

        They are for a correction, and where rollouts are learnt from after an update, when the policy is another one.
        """
        return self.correction is not None or self.updates * self.minibatches > 1

    def programs(self, place: Place) -> tuple[Program, ...]:
        """What ``run`` will compile."""
        model, truncation = trained_model(self, place), truncation_of(self)
        objective, updates = self.objective(model, place.kernels), self.updates * self.minibatches
        learned = learned_of(self, place, model, objective, planned_steps(self), updates)
        between, drawn = (
            self.between(place.mesh, model, place.kernels),
            None if truncation == ALL_TOKENS else truncation,
        )
        needs = {"minibatches": self.minibatches, "scored": self.scored, "referenced": self.kl_coefficient > 0}
        return tuple(policy_gradient_programs(self, learned, between, drawn, **needs))

    def source(self, trainee: Trainee, tokenizer: Tokenizer, out: Path, context: Context) -> "RolloutSource":
        """Where batches come from. Raises InputError for a prompt that leaves no room for ``max_new_tokens``."""
        mesh = context.mesh
        sampler = replace(sampler_of(self, trainee, tokenizer, context), truncation=truncation_of(self))
        problems, between = sampler.problems, self.between(mesh, trainee.model, context.kernels)
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
            log=RolloutLog(out, self.rollouts_every, problems, tokenizer, self.chat),
            between=between,
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


@dataclass(frozen=True)
class RolloutSource:
    """Batches for ``fit`` that are sampled from the very parameters that they then update."""

    stage: GRPO
    trainee: Trainee
    mesh: meshes.Mesh
    sampler: PromptSampler
    log: RolloutLog
    between: PolicyPrograms
    reference: Reference | None
    clock: Stopwatch

    def get_state(self) -> dict[str, Any]:
        """Which prompts come next, and which policy is the reference where that changes."""
        prompts = self.sampler.get_state()
        if self.reference is None or not self.reference.every:
            return prompts
        return {"prompts": prompts, "reference": self.reference.get_state()}

    def set_state(self, cursor: dict[str, Any]) -> None:
        """Goes on with the prompts that come next in ``cursor``, and with its reference."""
        if self.reference is not None and self.reference.every:
            self.reference.set_state(cursor["reference"])
            cursor = cursor["prompts"]
        self.sampler.set_state(cursor)

    def __call__(
        self, state: TrainState, step: int
    ) -> tuple[PolicyBatch | tuple[PolicyBatch, ...], Mapping[str, float]]:
        """Samples, rewards, scores, keeps: what the step's updates learn from, and metrics under the names of TRL."""
        stage, config = self.stage, self.trainee.merged_model.config
        attempts = self._attempts(state, step)
        every, learnt = self._joined(attempts)
        missing = meshes.largest_of_all_processes(int(np.isnan(learnt.rewards).any()))
        assemble = self.between.assemble_graded if missing else self.between.assemble
        batch = assemble(*meshes.to_global(self.mesh, (self._rows(learnt), np.float32(learnt.rewards).reshape(-1))))
        with self.clock.part("scoring"):
            if self.reference is not None:
                self.reference.look(step, state.params)
            # Waits, so that what scoring takes isn't counted for the update, which needs it anyway.
            parts = jax.block_until_ready(tuple(self._scored(part, state) for part in minibatches_of(batch)))
        if self.log.due(step + 1):
            self.log.write(step + 1, learnt.sampled, learnt.texts, self._judged(learnt, parts))
        correct = "" if stage.correct is None else reward_name(stage.correct)
        metrics = rollout_metrics(every, correct)
        costs = [sampling_cost(config, attempt.sampled) for attempt in attempts]
        metrics |= {name: sum(cost[name] for cost in costs) for name in costs[0]}
        metrics["flops"] += scoring_flops(config, learnt.sampled, stage.scored + (self.reference is not None))
        if stage.resample:
            metrics["sampling/attempts"] = len(attempts)
        else:
            metrics |= epoch_metric(self.sampler, learnt.sampled, step)
        return (parts[0] if stage.minibatches == 1 else parts), metrics

    def _attempts(self, state: TrainState, step: int) -> list[Rewarded]:
        """A step's completions; sampled again, to further prompts, until enough groups teach something, or too often.

        All processes sample equally often, so that their programs stay together.
        """
        attempts: list[Rewarded] = []
        while len(attempts) <= self.stage.resample:
            with self.clock.part("rollout"):
                sampled = self.sampler(state.params, step, len(attempts))
            with self.clock.part("reward"):
                attempts.append(self._rewarded(sampled))
            if len(attempts) <= self.stage.resample:
                missing = len(attempts[0].rewards) - int(self._signal(attempts).sum())
                if meshes.largest_of_all_processes(max(missing, 0)) == 0:
                    break
        return attempts

    def _rewarded(self, sampled: Sampled) -> Rewarded:
        stage, texts = self.stage, self.log.texts(sampled.rollouts)
        cut, lengths = sampled.rollouts.truncated, sampled.rollouts.lengths
        rated = rate(stage.rewards, sampled.problems, texts, cut, lengths, stage.chat)
        rewards = total_rewards(stage.reward_weights, rated.values, rated.ungraded)
        return Rewarded(sampled, texts, rated.values, rewards, rated.ungraded, rated.judgements)

    def _signal(self, attempts: Sequence[Rewarded]) -> np.ndarray:
        """Which of this process's groups, through all attempts, ``select`` takes."""
        select = SelectedAmongGraded(self.stage.select)
        return np.concatenate(
            [
                selected_groups(select if np.isnan(one.rewards).any() else self.stage.select, one.rewards)
                for one in attempts
            ]
        )

    def _joined(self, attempts: Sequence[Rewarded]) -> tuple[Rewarded, Rewarded]:
        """All of a step's completions, and those that it learns from."""
        if len(attempts) == 1:
            return attempts[0], attempts[0]
        signal = self._signal(attempts)
        chosen = first_with_signal(signal, len(attempts[0].rewards))
        limit, lengths = self.sampler.longest_row, self.sampler.padded_lengths
        return joined(attempts, range(len(signal)), limit, lengths), joined(attempts, chosen, limit, lengths)

    def _rows(self, learnt: Rewarded) -> dict[str, np.ndarray]:
        """The rows of completions; those that were not graded without loss, those cut off where the stage says so."""
        rows, masked_PG = learnt.sampled.rows, np.isnan(learnt.rewards)
        if self.stage.mask_truncated:
            masked_PG = masked_PG | learnt.sampled.rollouts.truncated
        return {**rows, "loss_mask": rows["loss_mask"] * ~masked_PG.reshape(-1, 1)}

    def _scored(self, batch: PolicyBatch, state: TrainState) -> PolicyBatch:
        """The batch with old and reference log-probabilities where the loss needs them."""
        between = self.between
        if self.stage.scored:
            old = between.score(self.trainee.all_params(state.params), batch.rows)
            batch = replace(batch, old_log_probs=old) if between.correct is None else between.correct(batch, old)
        if self.reference is not None:
            batch = replace(batch, reference_log_probs=self.reference.log_probs(batch.rows))
        return batch

    def _judged(self, learnt: Rewarded, parts: Sequence[PolicyBatch]) -> Judged:
        """What became of completions, in the order of their sampling."""
        samples, sampled = self.stage.samples, learnt.sampled
        advantages = of_whole([meshes.local_rows(part.advantages) for part in parts], samples)
        old = [part.old_log_probs for part in parts if part.old_log_probs is not None]
        trainers = None
        if old:
            whole = of_whole([meshes.local_rows(log_probs) for log_probs in old], samples)
            trainers = of_completions(whole, sampled.prompts, sampled.rollouts.tokens.shape)
        own = advantages[:, 0].reshape(learnt.rewards.shape)
        return Judged(learnt.values, learnt.rewards, own, trainers, learnt.judgements)
