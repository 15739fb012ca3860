"""Reinforcement learning from verifiable rewards: group-relative policy optimization (arXiv 2402.03300).

Shapes: P prompts of this process, G samples a prompt, B = P * G rows, T time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np

from reasoning.core import mesh as meshes
from reasoning.core.artifact import Artifact, Outcome
from reasoning.core.errors import InputError
from reasoning.core.ranges import Count, NonNegative
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.generation.engine import Rollouts
from reasoning.models.parameters import Params
from reasoning.objectives.advantages import group_normalized, groups_with_signal
from reasoning.objectives.kl import KLEstimate, k3
from reasoning.objectives.policy import Clipped, Surrogate
from reasoning.rollouts.prompt_sampler import (
    PromptSampler,
    Sampled,
    completion_metrics,
    sampling_cost,
)
from reasoning.rollouts.rating import Reward, check_judged, check_names, rate, reward_name
from reasoning.rollouts.record import Judged, RolloutLog, of_completions
from reasoning.rollouts.watch import RewardWatch, watch_rewards
from reasoning.stages.checkpoint import tokenizer_of
from reasoning.stages.learn import Learner, learn
from reasoning.stages.settings import OnPolicy
from reasoning.stages.stage import Context, LearnsFrom
from reasoning.stages.trainee import Trainee, check_on_policy, planned_rollouts, sampler_of, trainee_of
from reasoning.training.batches import PolicyBatch, TokenBatch
from reasoning.training.losses import policy
from reasoning.training.policy_rows import Advantage, Selection
from reasoning.training.program import build_assembling, build_scoring
from reasoning.training.state import TrainState


@dataclass(frozen=True, kw_only=True)
class GRPO(OnPolicy):
    """Trains ``start`` on problems by sampling a group of replies to each and rewarding them against each other.

    A step samples ``samples`` replies to each of ``questions`` problems, rewards them, and updates ``updates`` times.
    The total reward is the sum of ``rewards`` by ``reward_weights``. Variations are functions: ``loss``,
    ``advantage``, ``select`` (which groups are learnt from), ``aggregate`` (how tokens weigh).
    """

    learns_from: ClassVar[LearnsFrom] = "rewards"

    rewards: tuple[Reward, ...]
    reward_weights: tuple[float, ...]
    correct: Reward | None = (
        None  # the one of rewards that says which replies are right, for the metric of their length
    )
    updates: Count = 1  # optimizer steps on the same rollouts; 1 is strictly on-policy
    loss: Surrogate = Clipped()
    kl_coefficient: NonNegative = 0.0  # above 0: KL to the frozen start …
    kl: KLEstimate = k3  # … as this function estimates it
    advantage: Advantage = group_normalized
    select: Selection = groups_with_signal

    def __post_init__(self) -> None:
        if len(self.rewards) != len(self.reward_weights) or not self.rewards:
            raise InputError(
                f"{len(self.rewards)} rewards have {len(self.reward_weights)} reward_weights; give one weight a reward"
            )
        check_names(self.rewards, "rewards")
        if self.correct is not None and self.correct not in self.rewards:
            raise InputError(f"correct is {reward_name(self.correct)}, which is not among rewards; name one of them")

    def check(self, mesh: meshes.Mesh) -> None:
        """Raises InputError where the rows of a step can't be shared out on ``mesh``, or LoRA lacks a target.

        Also for a problem that one of the rewards can't judge.
        """
        check_on_policy(self, mesh)
        check_judged(self.rewards, self.problems)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Outcome:
        """Trains and leaves a checkpoint."""
        tokenizer, mesh = tokenizer_of(inputs["start"]), context.mesh
        self.check(mesh)
        trainee = trainee_of(self, inputs["start"], context)
        source = self.source(trainee, tokenizer, out, context)
        loss_fn = policy(
            trainee.model,
            loss=self.loss,
            kl=self.kl,
            kl_coefficient=self.kl_coefficient,
            temperature=self.temperature,
            kernels=context.kernels,
        )
        learner = Learner(
            settings=self,
            trainee=trainee,
            tokenizer=tokenizer,
            updates=self.updates,
            loss_fn=loss_fn,
            shown=("reward", "completions/mean_length", "probe/strict"),
            tokens_per_step=self.questions * self.samples * self.max_new_tokens,
        )
        return learn(learner, source, out, context)

    def source(self, trainee: Trainee, tokenizer: Tokenizer, out: Path, context: Context) -> "RolloutSource":
        """Where batches come from. Raises InputError for a prompt that leaves no room for ``max_new_tokens``."""
        mesh = context.mesh
        sampler = sampler_of(self, trainee, tokenizer, context)
        problems = sampler.problems
        return RolloutSource(
            stage=self,
            trainee=trainee,
            mesh=mesh,
            sampler=sampler,
            log=RolloutLog(out, self.rollouts_every, problems, tokenizer, self.chat),
            watch=watch_rewards(self.name, len(problems), self.questions, self.steps, context.warn),
            score=build_scoring(trainee.model, mesh, self.temperature, context.kernels),
            score_reference=build_scoring(trainee.merged_model, mesh, self.temperature, context.kernels),
            assemble=build_assembling(
                mesh, self.samples, self.advantage, self.select, self.aggregate, self.max_new_tokens
            ),
            reference=trainee.reference() if self.kl_coefficient > 0 else None,
        )

    def plan(self) -> dict[str, object]:
        """Sizes for ``run --check``."""
        return planned_rollouts(self)


@dataclass(frozen=True)
class RolloutSource:
    """Batches for ``fit`` that are sampled from the very parameters that they then update."""

    stage: GRPO
    trainee: Trainee
    mesh: meshes.Mesh
    sampler: PromptSampler
    log: RolloutLog
    watch: RewardWatch
    score: Callable[[Params, TokenBatch], jax.Array]
    score_reference: Callable[[Params, TokenBatch], jax.Array]
    assemble: Callable[[dict[str, jax.Array], jax.Array], PolicyBatch]
    reference: Params | None

    def get_state(self) -> dict[str, Any]:
        """Which prompts come next."""
        return self.sampler.get_state()

    def set_state(self, cursor: dict[str, Any]) -> None:
        """Goes on with the prompts that come next in ``cursor``."""
        self.sampler.set_state(cursor)

    def __call__(self, state: TrainState, step: int) -> tuple[PolicyBatch, Mapping[str, float]]:
        """Samples, rewards, scores, keeps: one batch and its metrics under the names of TRL."""
        stage, sampled = self.stage, self.sampler(state.params, step)
        rollouts = sampled.rollouts
        texts = self.log.texts(rollouts)
        values = rate(stage.rewards, sampled.problems, texts, rollouts.truncated, stage.chat)
        rewards_PG = total_rewards(stage.reward_weights, values)
        batch = self.assemble(*meshes.to_global(self.mesh, (sampled.rows, np.float32(rewards_PG).reshape(-1))))
        batch = self.scored(batch, state)
        trainers_PGN = _trainer_log_probs(batch, sampled)
        if self.log.due(step + 1):
            advantages_PG = meshes.local_rows(batch.advantages)[:, 0].reshape(rewards_PG.shape)
            self.log.write(step + 1, sampled, texts, Judged(values, rewards_PG, advantages_PG, trainers_PGN))
        self.watch.look(step + 1, meshes.rows_of_all_processes(rewards_PG))
        correct = "" if stage.correct is None else reward_name(stage.correct)
        passes = (stage.updates > 1) + (self.reference is not None)
        metrics = rollout_metrics(rollouts, values, rewards_PG, correct) | sampling_cost(
            self.trainee.merged_model.config, sampled, passes
        )
        return batch, metrics | _log_prob_metrics(rollouts, trainers_PGN)

    def scored(self, batch: PolicyBatch, state: TrainState) -> PolicyBatch:
        """The batch with old and reference log-probabilities where the loss needs them."""
        if self.stage.updates > 1:
            batch = replace(batch, old_log_probs=self.score(self.trainee.all_params(state.params), batch.rows))
        if self.reference is not None:
            batch = replace(batch, reference_log_probs=self.score_reference(self.reference, batch.rows))
        return batch


def total_rewards(reward_weights: Sequence[float], values: Mapping[str, np.ndarray]) -> np.ndarray:
    """The weighted sum [P, G] of all rewards; one that doesn't apply to a completion (NaN) adds nothing, as in TRL."""
    return sum(
        (weight * np.nan_to_num(values_PG) for weight, values_PG in zip(reward_weights, values.values(), strict=True)),
        start=np.zeros(()),
    )


def _trainer_log_probs(batch: PolicyBatch, sampled: Sampled) -> np.ndarray | None:
    """The trainer's log-probabilities [P, G, N] of what was sampled, where a scoring pass has computed them anyway."""
    if batch.old_log_probs is None:
        return None
    return of_completions(meshes.local_rows(batch.old_log_probs), sampled.prompts, sampled.rollouts.tokens.shape)


def _log_prob_metrics(rollouts: Rollouts, trainers_PGN: np.ndarray | None) -> dict[str, float]:
    """How far the sampler's log-probabilities are from the trainer's, where both are known: a mean over all tokens.

    More than rounding means that the sampler runs another model than the one that learns.
    """
    if trainers_PGN is None:
        return {}
    inside_PGN = np.arange(trainers_PGN.shape[-1]) < rollouts.lengths[..., None]
    apart = float(np.abs(trainers_PGN - rollouts.log_probs)[inside_PGN].sum())
    apart, count = meshes.rows_of_all_processes(np.array([[apart, inside_PGN.sum()]])).sum(axis=0)
    return {"sampling/sampling_logp_difference/mean": float(apart / count)}


def rollout_metrics(
    rollouts: Rollouts, values: Mapping[str, np.ndarray], rewards_PG: np.ndarray, correct: str = ""
) -> dict[str, float]:
    """What a step sampled, over all processes, under the names that TRL's users know.

    As there, ``reward_std`` is the mean of the groups' sample deviations (divisor G - 1), and a reward's own mean is
    over the completions that it applies to (NaN where there are none). Correct is what the reward ``correct`` gives 1
    or more; without any such completion there is no length of them.
    """
    others = max(rewards_PG.shape[1] - 1, 1)
    centred_PG = rewards_PG - rewards_PG.mean(axis=1, keepdims=True)
    per_prompt = {
        "reward": rewards_PG.mean(axis=1),
        "reward_std": np.sqrt((centred_PG**2).sum(axis=1) / others),
        "frac_reward_zero_std": (rewards_PG.max(axis=1) == rewards_PG.min(axis=1)).astype(np.float64),
    }
    metrics = {name: float(meshes.rows_of_all_processes(values_P).mean()) for name, values_P in per_prompt.items()}
    metrics |= completion_metrics(rollouts)
    for name, values_PG in values.items():
        everyone_PG = meshes.rows_of_all_processes(values_PG)
        applies_PG = ~np.isnan(everyone_PG)
        metrics[f"rewards/{name}/mean"] = float(everyone_PG[applies_PG].mean()) if applies_PG.any() else float("nan")
    if correct in values:
        correct_PG = meshes.rows_of_all_processes(values[correct]) >= 1
        lengths_PG = meshes.rows_of_all_processes(rollouts.lengths)
        if correct_PG.any():
            metrics["completions/mean_length/correct"] = float(lengths_PG[correct_PG].mean())
    return metrics
