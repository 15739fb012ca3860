"""Settings of learning from rewards, which the stage and its source of batches read."""

from dataclasses import dataclass

from reasoning.core.errors import InputError
from reasoning.core.ranges import Few, Index, NonNegative, Size
from reasoning.generation.truncation import ALL_TOKENS
from reasoning.objectives.advantages import group_normalized, groups_with_signal
from reasoning.objectives.correction import Correction
from reasoning.objectives.kl import KLEstimate, k3
from reasoning.objectives.policy import Clipped, Surrogate
from reasoning.rewards.reward import scorers_of
from reasoning.rollouts.rating import Reward, check_names, reward_name
from reasoning.rollouts.sampling import TruncatedSampling, truncation_of
from reasoning.stages.settings import OnPolicy
from reasoning.stages.stage import Stage
from reasoning.training.policy_rows import Advantage, Selection
from reasoning.training.shared_prompts import ReplyGroups


@dataclass(frozen=True, kw_only=True)
class FromRewards(OnPolicy, TruncatedSampling):
    """What a stage that learns from rewards says of them, of its loss, and of what it makes of a step's groups."""

    rewards: tuple[Reward, ...]
    reward_weights: tuple[float, ...]
    scorers: tuple[Stage, ...] = ()  # reward models, which rewards name (``evaluation.scorer_reward.ScorerReward``)
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
        self._check_scorers()
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

    def _check_scorers(self) -> None:
        """Raises InputError for a reward that asks a scorer which isn't there, and for a scorer that none asks."""
        asked = {name: reward_name(reward) for reward in self.rewards for name in scorers_of(reward)}
        there = [scorer.name for scorer in self.scorers]
        for name, reward in asked.items():
            if name not in there:
                raise InputError(
                    f"the reward {reward} asks the scorer {name}, and the scorers are {', '.join(there) or 'none'}; "
                    f"add it to {self.name or 'the stage'}.scorers"
                )
        for name in there:
            if name not in asked:
                raise InputError(f"no reward asks the scorer {name}; name a ScorerReward of it, or drop it")

    def groups(self, longest_prompt: int) -> ReplyGroups:
        """What is known of a step's rows before they are sampled."""
        return ReplyGroups(self.samples, longest_prompt, self.max_new_tokens)

    @property
    def scored(self) -> bool:
        """Whether the trainer's own log-probabilities of what was sampled are needed before an update.

        They are for a correction, and where rollouts are learnt from after an update, when the policy is another one.
        """
        return self.correction is not None or self.updates * self.minibatches > 1
