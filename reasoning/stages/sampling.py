"""Sampling a batch of prompts over all processes, for stages that want everybody's replies at once."""

from collections.abc import Sequence

import jax

from reasoning.core.mesh import everyone
from reasoning.generation.engine import Engine, Rollouts
from reasoning.models.cache import Weights


def sample_for_all(
    engine: Engine,
    weights: Weights,
    prompts: Sequence[Sequence[int]],
    start: int,
    batch: int,
    key: jax.Array,
    temperature: float,
) -> Rollouts:
    """Rollouts of ``prompts[start : start + batch]`` on every process; each samples its share.

    A prompt's number in the whole sequence is its identity. A last, shorter batch is filled up with its last prompt so
    that one program serves all.
    """
    processes, index = jax.process_count(), jax.process_index()
    share = -(-batch // processes)
    numbers = [min(start + offset, len(prompts) - 1) for offset in range(share * processes)]
    own = numbers[index * share : (index + 1) * share]
    local = engine.generate(weights, [prompts[number] for number in own], own, key, temperature)
    kept = min(batch, len(prompts) - start)
    return Rollouts(*(everyone(getattr(local, name))[:kept] for name in Rollouts.names()))
