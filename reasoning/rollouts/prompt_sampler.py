"""Completions of the very parameters that a stage trains, sampled anew each step: what GRPO and on-policy
distillation learn from.

Shapes: P prompts of this process, G samples a prompt, B = P * G rows, T time.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import grain
import jax
import numpy as np
from jax.sharding import Mesh

from reasoning.core.buckets import powers_of_two
from reasoning.core.mesh import rows_of_all_processes, shared_out_length
from reasoning.core.prng import data_seed, stage_key, step_key
from reasoning.data.pipeline import item_batches
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.generation.engine import Engine, Rollouts
from reasoning.generation.truncation import ALL_TOKENS, Truncation
from reasoning.models.cache import Weights
from reasoning.models.config import ModelConfig
from reasoning.models.flops import forward_flops
from reasoning.models.model import Model
from reasoning.models.parameters import Params
from reasoning.rollouts.sampling import Sampling, sampler_for, truncating
from reasoning.rollouts.text import encode_prompts
from reasoning.tasks.problems import Problem
from reasoning.training.policy_rows import policy_rows


@dataclass(frozen=True)
class Sampled:
    """One step's problems [P] with their numbers and prompts, their completions [P, G], and the rows [B, T] of both."""

    numbers: Sequence[int]
    problems: Sequence[Problem]
    prompts: Sequence[Sequence[int]]
    rollouts: Rollouts
    rows: dict[str, np.ndarray]


@dataclass(frozen=True)
class PromptSampler:
    """Samples a group of completions to the next prompts; ``get_state`` and ``set_state`` are a source's."""

    publish: Callable[[Params], Weights]
    engine: Engine
    problems: Sequence[Problem]
    prompts: Sequence[Sequence[int]]
    order: grain.DatasetIterator[list[int]]
    key: jax.Array
    temperature: float
    longest_row: int
    padded_lengths: tuple[int, ...]
    truncation: Truncation = ALL_TOKENS  # which tokens may be drawn

    def get_state(self) -> dict[str, Any]:
        """Which prompts come next."""
        return self.order.get_state()

    def set_state(self, cursor: dict[str, Any]) -> None:
        """Goes on with the prompts that come next in ``cursor``."""
        self.order.set_state(cursor)

    def __call__(self, params: Params, step: int, attempt: int = 0) -> Sampled:
        """What ``params`` answer to the next prompts; each further ``attempt`` of a step draws other numbers."""
        numbers = next(self.order)
        prompts = [self.prompts[number] for number in numbers]
        weights, key = self.publish(params), step_key(_key_of(self.key, attempt), step)
        generate = truncating(self.engine.generate, self.truncation)
        rollouts = generate(weights, prompts, batch_places(len(numbers)), key, self.temperature)
        rows = policy_rows(prompts, rollouts, self.longest_row, self.padded_lengths)
        return Sampled(numbers, [self.problems[number] for number in numbers], prompts, rollouts, rows)


def prompt_sampler(
    settings: Sampling,
    name: str,
    questions: int,
    model: Model,
    publish: Callable[[Engine, Params], Weights],
    tokenizer: Tokenizer,
    mesh: Mesh,
    seed: int,
    padded_lengths: tuple[int, ...],
) -> PromptSampler:
    """The sampler of the stage ``name``: ``questions`` of its problems a step, asked of ``model`` as it trains.

    ``publish`` makes the engine's weights of what trains, ``padded_lengths`` are those of rows. Raises InputError for a
    prompt that leaves no room for ``max_new_tokens``.
    """
    problems, context = settings.problems.problems(), model.config.context
    order = item_batches(
        range(len(problems)),
        batch_size=questions,
        seed=data_seed(seed, name),
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        prefetch=0,
    )
    new = settings.max_new_tokens
    prompts = encode_prompts(problems, settings.chat, tokenizer, new, context)
    longest = max(map(len, prompts))
    engine = sampler_for(model, mesh, tokenizer, settings.chat, settings.samples, new, settings.slots, longest)
    # Within the context, since ``encode_prompts`` refuses what isn't, but for what lets devices share a row evenly.
    limit = shared_out_length(mesh, longest + new)
    lengths = (shared_out_length(mesh, length) for length in padded_lengths or powers_of_two(limit))
    return PromptSampler(
        publish=partial(publish, engine),
        engine=engine,
        problems=problems,
        prompts=prompts,
        order=iter(order),
        key=stage_key(seed, name),
        temperature=settings.temperature,
        longest_row=limit,
        padded_lengths=tuple(lengths),
    )


def _key_of(key: jax.Array, attempt: int) -> jax.Array:
    """The key of a step's attempts. By a hash: folded in beside steps or requests, a small number would be one."""
    return jax.random.fold_in(key, zlib.crc32(f"attempt/{attempt}".encode())) if attempt else key


def batch_places(count: int) -> list[int]:
    """This process's places in the global batch, as identities of its requests.

    Not the problems' numbers: a problem may come twice in a batch, where an epoch ends, and shall be answered anew.
    """
    return [jax.process_index() + jax.process_count() * place for place in range(count)]


def completion_metrics(rollouts: Rollouts) -> dict[str, float]:
    """How long completions are and which share hit the limit, over all processes, under the names of TRL."""
    return {
        "completions/mean_length": float(rows_of_all_processes(rollouts.lengths.mean(axis=1)).mean()),
        "completions/clipped_ratio": float(rows_of_all_processes(rollouts.truncated.mean(axis=1)).mean()),
    }


def epoch_metric(sampler: PromptSampler, sampled: Sampled, step: int) -> dict[str, float]:
    """How often all problems have been asked after ``step``, where each step samples but once; TRL's ``epoch``."""
    asked = (step + 1) * len(sampled.numbers) * jax.process_count()
    return {"epoch": asked / len(sampler.problems)}


def sampling_cost(config: ModelConfig, sampled: Sampled) -> dict[str, int]:
    """What sampling took, over all processes: ``tokens`` that were sampled, and ``flops``.

    Each prompt is read once whatever its number of samples.
    """
    own = np.array([[sum(map(len, sampled.prompts)), sampled.rollouts.lengths.sum()]])
    read, new = (int(count) for count in rows_of_all_processes(own).sum(axis=0))
    return {"tokens": new, "flops": forward_flops(config, read + new, sampled.rows["tokens"].shape[1])}
