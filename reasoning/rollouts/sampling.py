"""How a model's replies are sampled: the settings that all who sample share, and the one door to an engine."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
from jax.sharding import Mesh

from reasoning.core.mesh import rows_of_all_processes
from reasoning.core.ranges import Count, Positive
from reasoning.data.chat.format import ChatFormat
from reasoning.data.tokenizers.tokenizer import Tokenizer, end_ids
from reasoning.generation.engine import Engine, Generate, Rollouts, build_engine
from reasoning.generation.sampler import SamplerSettings
from reasoning.models.cache import Weights
from reasoning.models.model import LanguageModel
from reasoning.tasks.problems import ProblemSet


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Which problems a model is asked, and how its replies are sampled."""

    problems: ProblemSet
    max_new_tokens: Count  # tokens of a reply at most
    samples: Count = 16  # replies a problem
    temperature: Positive = 1.0
    chat: ChatFormat = ChatFormat()


def sampler_for(
    model: LanguageModel, mesh: Mesh, tokenizer: Tokenizer, chat: ChatFormat, samples: int, max_new_tokens: int
) -> Engine:
    """The engine that samples ``samples`` replies a prompt, each until an end symbol of ``chat`` or the limit."""
    return build_engine(model, mesh, SamplerSettings(samples, max_new_tokens, end_ids(tokenizer, chat)))


def sample_for_all(
    generate: Generate,
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
    local = generate(weights, [prompts[number] for number in own], own, key, temperature)
    kept = min(batch, len(prompts) - start)
    return Rollouts(*(rows_of_all_processes(getattr(local, name))[:kept] for name in Rollouts.names()))
