"""Batches for policy gradients: prompts are sampled, replies rewarded and scored, and what a step learnt from is kept.

Shapes: P prompts of this process, G samples a prompt, B = P * G rows, T time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from reasoning.core import mesh as meshes
from reasoning.core.stopwatch import Stopwatch
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.evaluation.scorers import Scorer, read_by
from reasoning.kernels.token_log_probs import TokenLogProbs
from reasoning.models.flops import forward_flops
from reasoning.objectives.advantages import SelectedAmongGraded
from reasoning.rollouts.prompt_sampler import PromptSampler, Sampled, epoch_metric, sampling_cost
from reasoning.rollouts.rating import rate, reward_name
from reasoning.rollouts.record import Judged, RolloutLog, of_completions
from reasoning.rollouts.rewarded import Rewarded, first_with_signal, joined, rollout_metrics, total_rewards
from reasoning.stages.from_rewards import FromRewards
from reasoning.stages.learn import minibatches_of
from reasoning.stages.policy_programs import PolicyPrograms
from reasoning.stages.reference import Reference
from reasoning.stages.trainee import Trainee
from reasoning.training.batches import PolicyBatch, TokenBatch
from reasoning.training.policy_rows import of_whole, selected_groups
from reasoning.training.shared_prompts import ReplyGroups, computed_places
from reasoning.training.state import TrainState


@dataclass(frozen=True)
class RolloutSource:
    """Batches for ``fit`` that are sampled from the very parameters that they then update."""

    stage: FromRewards
    trainee: Trainee
    mesh: meshes.Mesh
    sampler: PromptSampler
    scorers: Mapping[str, Scorer]
    tokenizer: Tokenizer
    log: RolloutLog
    between: PolicyPrograms
    groups: ReplyGroups
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
            scored = jax.block_until_ready([self._scored(part, state) for part in self._parts(batch, learnt)])
        parts = tuple(part for part, _ in scored)
        if self.log.due(step + 1):
            judged = self._judged(learnt, parts, [own for _, own in scored if own is not None])
            self.log.write(step + 1, learnt.sampled, learnt.texts, judged)
        correct = "" if stage.correct is None else reward_name(stage.correct)
        metrics = rollout_metrics(every, correct)
        costs = [sampling_cost(config, attempt.sampled) for attempt in attempts]
        metrics |= {name: sum(cost[name] for cost in costs) for name in costs[0]}
        metrics["flops"] += int(sum(attempt.marking_flops for attempt in attempts))
        metrics["flops"] += sum(self._scoring_flops(part.rows) for part in parts)
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
        marks, read = self._marks(sampled)
        rated = rate(stage.rewards, sampled.problems, texts, cut, lengths, stage.chat, marks)
        rewards = total_rewards(stage.reward_weights, rated.values, rated.ungraded)
        return Rewarded(sampled, texts, rated.values, rewards, rated.ungraded, rated.judgements, read)

    def _marks(self, sampled: Sampled) -> tuple[list[dict[str, np.ndarray]], float]:
        """What scorers make of this process's completions, by scorer, and the operations of reading all processes'."""
        if not self.scorers:
            return [], 0.0
        names = ("tokens", "segments", "loss_mask")
        tokens_BT, inside_BT, reply_BT = (meshes.rows_of_all_processes(sampled.rows[name]) for name in names)
        written = list(zip(tokens_BT, inside_BT > 0, reply_BT > 0, strict=True))
        prompts = [row_T[inside_T & ~reply_T].tolist() for row_T, inside_T, reply_T in written]
        replies = [row_T[reply_T].tolist() for row_T, _, reply_T in written]
        read = {name: read_by(each, self.tokenizer, prompts, replies) for name, each in self.scorers.items()}
        rows = len(sampled.rows["tokens"])
        own = range(jax.process_index() * rows, (jax.process_index() + 1) * rows)
        marks = [{name: steps_R[row] for name, (steps_R, _) in read.items()} for row in own]
        return marks, float(sum(cost.flops_R.sum() for _, cost in read.values()))

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

    def _parts(self, batch: PolicyBatch | tuple[PolicyBatch, ...], learnt: Rewarded) -> Iterator[PolicyBatch]:
        """The batch, or its minibatches, with the room that this step's replies need."""
        lengths_B = learnt.sampled.rollouts.lengths.reshape(-1)
        for part in minibatches_of(batch):
            yield self.groups.in_room(part, self.trainee.model, lengths_B, self.stage.microbatches)

    def _scored(self, batch: PolicyBatch, state: TrainState) -> tuple[PolicyBatch, TokenLogProbs | None]:
        """The batch with old and reference log-probabilities where the loss needs them, and all of the old scores."""
        between, own = self.between, None
        if self.stage.scored:
            own = between.score(self.trainee.all_params(state.params), batch.rows)
            old = own.log_prob_BT
            batch = replace(batch, old_log_probs=old) if between.correct is None else between.correct(batch, old)
        if self.reference is not None:
            batch = replace(batch, reference_log_probs=self.reference.log_probs(batch.rows))
        return batch, own

    def _scoring_flops(self, rows: TokenBatch) -> int:
        """Operations of the passes that score rows of all processes, padding included."""
        passes, (count, time) = self.stage.scored + (self.reference is not None), rows.tokens.shape
        places = computed_places(self.groups, self.trainee.model, count, time, room=rows.room)
        return passes * forward_flops(self.trainee.merged_model.config, places, time)

    def _judged(self, learnt: Rewarded, parts: Sequence[PolicyBatch], scores: Sequence[TokenLogProbs]) -> Judged:
        """What became of completions, in the order of their sampling; ``scores`` are the trainer's, where it scored."""
        whole = of_whole([meshes.local_rows(part.advantages) for part in parts], self.stage.samples)
        return Judged(
            learnt.values,
            learnt.rewards,
            advantages=whole[:, 0].reshape(learnt.rewards.shape),
            log_probs=self._of_completions(learnt, [each.log_prob_BT for each in scores]),
            entropies=self._of_completions(learnt, [each.entropy_BT for each in scores]),
            judgements=learnt.judgements,
        )

    def _of_completions(self, learnt: Rewarded, values: Sequence[jax.Array]) -> np.ndarray | None:
        """From values [B, T] of the parts' rows to those of completions, [P, G, N]; None where there are none."""
        if not values:
            return None
        whole = of_whole([meshes.local_rows(each) for each in values], self.stage.samples)
        return of_completions(whole, learnt.sampled.prompts, learnt.sampled.rollouts.tokens.shape)
