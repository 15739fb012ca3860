"""What a newcomer brings to an experiment in one module: a task, a reward, a loss, an optimizer, a search method and a
stage, none of which the package knows."""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
import optax

from reasoning.core import mesh as meshes
from reasoning.evaluation.exam import ask
from reasoning.objectives.policy import PolicyLoss
from reasoning.rollouts.rating import Reward, rate, reward_name
from reasoning.rollouts.text import decode_replies
from reasoning.stages.checkpoint import tokenizer_of
from reasoning.stages.learn import Learner, learn
from reasoning.stages.settings import OnPolicy
from reasoning.stages.stage import LearnsFrom
from reasoning.stages.trainee import sampler_of, trainee_of
from reasoning.tasks.problems import Problem, drawn
from reasoning.training.losses import supervised
from reasoning.training.program import build_batching

STOP = Path(__file__).with_name("stop")


@dataclass(frozen=True)
class Echo:
    """A task: say the digit that was said; each problem carries a column of its own."""

    def problems(self, split: str, count: int, seed: int) -> tuple[Problem, ...]:
        generator = np.random.default_rng(seed)

        def draw() -> Problem:
            digits = generator.integers(0, 10, 3).tolist()
            question = "+".join(map(str, digits)) + "?"
            return Problem(question, str(digits[0]), "echo", columns={"digits": digits})

        return drawn(draw, split, count, "echo")


def says_a_digit(completions: list[str], digits: list[list[int]], **columns: Any) -> list[float]:
    """A reward that reads the task's own column; it asks the run to stop where a file says so."""
    if STOP.exists():
        STOP.unlink()
        os.kill(os.getpid(), signal.SIGTERM)
    return [float(any(str(digit) in text for digit in own)) for text, own in zip(completions, digits, strict=True)]


def unclipped(new_BT: Any, old_BT: Any, advantages_BT: Any, mask_BT: Any) -> PolicyLoss:
    """A loss: the ratio without any clip, and a metric of its own."""
    ratio_BT = jnp.exp(new_BT - old_BT)
    return PolicyLoss(-ratio_BT * advantages_BT, {"ratio/mean": ratio_BT})


@dataclass(frozen=True)
class SignDescent:
    """An optimizer: momentum's sign, warmed up over a share of the steps."""

    learning_rate: float = 1e-3
    warmup_share: float = 0.5

    def build(self, steps: int) -> optax.GradientTransformation:
        schedule = optax.linear_schedule(0.0, self.learning_rate, max(1, round(self.warmup_share * steps)))
        return optax.chain(optax.trace(0.9), optax.scale_by_sign(), optax.scale_by_learning_rate(schedule))


@dataclass(frozen=True)
class BestOfN:
    """A search method: of N samples the likeliest."""

    n: int = 4

    @property
    def name(self) -> str:
        return f"best_of_{self.n}"

    def cost(self, exam: Any) -> int:
        return self.n

    def replies(self, candidate: Any, questions: Any, key: Any) -> Any:
        answers = ask(candidate, questions, key, samples=self.n)
        return answers.pick(answers.log_probs.argmax(axis=1))


@dataclass(frozen=True, kw_only=True)
class Imitate(OnPolicy):
    """A stage: learns the replies of its own that a reward likes, by maximum likelihood."""

    learns_from: ClassVar[LearnsFrom] = "rewards"

    reward: Reward

    def run(self, inputs: Mapping[str, Any], out: Path, context: Any) -> Any:
        tokenizer = tokenizer_of(inputs["start"])
        trainee = trainee_of(self, inputs["start"], context)
        learner = Learner(
            settings=self,
            trainee=trainee,
            tokenizer=tokenizer,
            loss_fn=supervised(trainee.model, kernels=context.kernels),
            shown=("reward",),
            steps=self.steps,
            tokens_per_step=self.questions * self.samples * self.max_new_tokens,
        )
        sampler = sampler_of(self, trainee, tokenizer, context)
        build = build_batching(context.mesh, self.aggregate, self.max_new_tokens)
        decode = partial(decode_replies, tokenizer, chat=self.chat, opening=self.chat.opening)
        return learn(learner, LikedReplies(self, sampler, decode, build, context.mesh), out, context)


@dataclass(frozen=True)
class LikedReplies:
    """Batches of what was just sampled, in which loss falls on the replies that the reward likes."""

    stage: Imitate
    sampler: Any
    decode: Any
    build: Any
    mesh: Any

    def get_state(self) -> dict[str, Any]:
        return self.sampler.get_state()

    def set_state(self, cursor: dict[str, Any]) -> None:
        self.sampler.set_state(cursor)

    def __call__(self, state: Any, step: int) -> tuple[Any, Mapping[str, float]]:
        sampled = self.sampler(state.params, step)
        rollouts, stage = sampled.rollouts, self.stage
        texts, cut, lengths = self.decode(rollouts), rollouts.truncated, rollouts.lengths
        rated = rate((stage.reward,), sampled.problems, texts, cut, lengths, stage.chat)
        liked = rated.values[reward_name(stage.reward)].reshape(-1) > 0
        rows = sampled.rows | {"loss_mask": sampled.rows["loss_mask"] * liked[:, None].astype(np.int32)}
        metrics = {"reward": float(liked.mean()), "tokens": int(rollouts.lengths.sum())}
        return self.build(meshes.to_global(self.mesh, rows)), metrics
