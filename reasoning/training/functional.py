"""The train steps of the stages as plain functions: for notebooks, and for models that no experiment file describes.

Tokens are plain ids here; there is no tokenizer, no artifact and no resume. Shapes: B rows, T time.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from reasoning.core import mesh as meshes
from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.core.prng import step_key
from reasoning.generation.engine import build_engine
from reasoning.generation.sampler import SamplerSettings
from reasoning.models.model import LanguageModel
from reasoning.models.parameters import Params
from reasoning.objectives.advantages import group_normalized, groups_with_signal
from reasoning.objectives.aggregation import token_mean
from reasoning.objectives.kl import k3
from reasoning.objectives.policy import Clipped
from reasoning.training.losses import policy, supervised
from reasoning.training.optimizers import Optimizer, transformation_of
from reasoning.training.policy_rows import policy_rows
from reasoning.training.program import StepProgram, build_assembling, build_batching, build_step
from reasoning.training.state import TrainState, new_state
from reasoning.training.step import LossFunction

PromptsAndReplies = Sequence[tuple[Sequence[int], Sequence[int]]]
"""Prompts and the replies to be learnt, both as ids."""

RewardFunction = Callable[[Sequence[int], Sequence[int]], float]
"""From a prompt and a completion, as ids, to its reward."""


def supervised_steps(
    model: LanguageModel, params: Params, batches: Iterable[PromptsAndReplies], optimizer: Optimizer, steps: int
) -> Iterator[tuple[Params, float]]:
    """Fine-tunes ``params`` by one step a batch; gives the new parameters and the loss before each step.

    A batch's examples become rows of the longest one's length; the loss is the mean over all tokens of the replies.
    Raises InputError for an empty batch, and where examples can't be shared out over the model's mesh.
    """
    mesh = model.mesh or build_mesh(MeshShape(), jax.devices()[:1])
    program, state = _begin(model, mesh, params, supervised(model), optimizer, steps)
    for examples in batches:
        rows = rows_of(examples, model.context)
        batch = build_batching(mesh, token_mean, rows["tokens"].shape[1])(meshes.to_global(mesh, rows))
        state, sums = program.step(state, {}, batch)
        yield _copied(state.params), float(sums["loss"][0])


def grpo_steps(
    model: LanguageModel,
    params: Params,
    prompts: Iterable[Sequence[Sequence[int]]],
    reward_function: RewardFunction,
    optimizer: Optimizer,
    steps: int,
    *,
    group: int,
    max_new_tokens: int,
    end_ids: tuple[int, ...],
    temperature: float = 1.0,
    seed: int = 0,
) -> Iterator[tuple[Params, float]]:
    """Trains ``params`` by GRPO (arXiv 2402.03300), one step a batch of prompts; gives parameters and mean reward.

    Each prompt gets ``group`` completions, whose rewards are compared with each other. Raises InputError as an
    engine's ``generate`` does, and where the rows can't be shared out over the model's mesh.
    """
    mesh = model.mesh or build_mesh(MeshShape(), jax.devices()[:1])
    loss_fn = policy(model, loss=Clipped(), kl=k3, kl_coefficient=0.0, temperature=temperature)
    program, state = _begin(model, mesh, params, loss_fn, optimizer, steps)
    engine = build_engine(model, mesh, SamplerSettings(group, max_new_tokens, end_ids))
    assemble = build_assembling(mesh, group, group_normalized, groups_with_signal, token_mean, max_new_tokens)
    for step, asked in enumerate(prompts):
        key = step_key(jax.random.key(seed), step)
        sampled = engine.generate(engine.publish(state.params), asked, range(len(asked)), key, temperature)
        rewards = np.array(
            [
                [reward_function(prompt, tokens[:length].tolist()) for tokens, length in zip(*replies, strict=True)]
                for prompt, *replies in zip(asked, sampled.tokens, sampled.lengths, strict=True)
            ]
        )
        if not np.isfinite(rewards).all():
            raise InputError(f"step {step}: the reward function gave a number that is not finite; mend it")
        rows = policy_rows(asked, sampled, model.context, ())
        batch = assemble(*meshes.to_global(mesh, (rows, np.float32(rewards).reshape(-1))))
        state, _ = program.step(state, {}, batch)
        yield _copied(state.params), float(rewards.mean())


def rows_of(examples: PromptsAndReplies, context: int) -> dict[str, np.ndarray]:
    """Rows [B, T] of one example each, padded on the right, in which the replies carry loss."""
    longest = max((len(prompt) + len(reply) for prompt, reply in examples), default=0)
    if not 0 < longest <= context:
        raise InputError(f"the longest example has {longest} tokens; give some, and none beyond the context {context}")
    tokens, loss = np.zeros((2, len(examples), longest), np.int32)
    segments = np.zeros_like(tokens)
    for row, (prompt, reply) in enumerate(examples):
        end = len(prompt) + len(reply)
        tokens[row, :end] = [*prompt, *reply]
        loss[row, len(prompt) : end] = 1
        segments[row, :end] = 1
    positions = np.broadcast_to(np.arange(longest, dtype=np.int32), tokens.shape)
    return {"tokens": tokens, "positions": np.array(positions), "segments": segments, "loss_mask": loss}


def _begin(
    model: LanguageModel, mesh: Mesh, params: Params, loss_fn: LossFunction, optimizer: Optimizer, steps: int
) -> tuple[StepProgram, TrainState]:
    transformation = transformation_of(optimizer, steps)
    program = build_step(model, mesh, loss_fn, transformation, microbatches=1)
    fresh = partial(new_state, optimizer=transformation)
    # Copies, since the step donates its state, and the caller keeps the parameters that came in.
    start: Any = jax.jit(lambda params: fresh(jax.tree.map(jnp.copy, params)), out_shardings=program.shardings)
    return program, start(params)


@jax.jit
def _copied(params: Params) -> Params:
    """Parameters that the next step doesn't take away."""
    return jax.tree.map(jnp.copy, params)
