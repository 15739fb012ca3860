"""An exam before it is asked: what methods tell of the programs that they will compile, when there is no model yet."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from reasoning.core import mesh as meshes
from reasoning.core.buckets import padded_length
from reasoning.core.program import Program
from reasoning.evaluation.exam import Exam
from reasoning.generation.beam import BeamSettings
from reasoning.generation.calls import growing_told, sampling_told, search_told, weight_shapes
from reasoning.generation.engine import SLOTS
from reasoning.generation.prompts import PromptStyle
from reasoning.generation.sampler import SamplerSettings
from reasoning.models.flops import forward_flops
from reasoning.models.model import Model, parameter_shardings
from reasoning.objectives.aggregation import token_mean
from reasoning.rollouts.sampling import allowed_by
from reasoning.tasks.problems import Problem
from reasoning.training.program import build_batching, build_scoring


@dataclass(frozen=True)
class Sitting:
    """One model that an exam will ask in one ``style``: how many prompts, tokens of the longest, ids that end a reply.

    ``longest_in`` tells the longest prompt in another style, ``tokens_in`` how many tokens a text has, its characters
    where no tokenizer is at hand, and ``ids_with`` the ids whose tokens hold a text, none there. ``problems`` are empty
    where they aren't. ``note`` hears what is assumed.
    """

    exam: Exam
    model: Model
    mesh: Mesh
    style: PromptStyle
    prompts: int
    longest: int
    ends: tuple[int, ...]
    problems: tuple[Problem, ...]
    longest_in: Callable[[PromptStyle], int]
    tokens_in: Callable[[str], int]
    ids_with: Callable[[str], tuple[int, ...]]
    note: Callable[[str], None]

    def settings(self, samples: int, new_tokens: int, longest: int) -> SamplerSettings:
        """An engine's for so many replies a prompt."""
        return SamplerSettings(samples, new_tokens, self.ends, self.exam.slots, longest)

    def sampled(
        self, name: str, samples: int, new_tokens: int = 0, longest: int = 0, prompts: int = 0, calls: float = 1.0
    ) -> Program:
        """What the engine compiles for so many replies to each prompt; 0 means the exam's own number."""
        limit, count = new_tokens or self.exam.max_new_tokens, prompts or self.prompts
        settings = self.settings(samples, limit, longest or self.longest)
        return sampling_told(name, self.model, self.mesh, settings, count, allowed_by(self.exam), calls)

    def searched(self, name: str, beams: int) -> Program:
        """What a beam search compiles."""
        settings = BeamSettings(beams, self.exam.max_new_tokens, self.ends, longest_prompt=self.longest)
        return search_told(name, self.model, self.mesh, settings, self.prompts, self.exam.batch)

    def grown(self, name: str, together: int, branches: int, step: int, separator: str) -> Iterator[Program]:
        """What a search over steps of so many tokens compiles, which ``separator`` ends, of ``together`` a problem.

        Problems stand beside each other as the slots hold them, and turn until all replies are at the limit.
        """
        limit = self.exam.max_new_tokens
        ends, longest = (*self.ends, *self.ids_with(separator)), self.longest + limit - 1
        settings = SamplerSettings(branches, step, ends, self.exam.slots, self.longest)
        places = max(1, (self.exam.slots or SLOTS) // together) * meshes.data_parallel_size(self.mesh)
        calls = -(-self.prompts // places) * -(-limit // step)
        allowed = allowed_by(self.exam)
        yield from growing_told(name, self.model, self.mesh, settings, together, longest, calls, allowed)

    def scored(self, name: str, texts: int, batch: int, longest: int) -> Iterator[Program]:
        """What ``continuations.log_likelihoods`` compiles for its longest texts, if all of them are as long."""
        mesh, model, parts = self.mesh, self.model, meshes.data_parallel_size(self.mesh)
        rows, time = -(-batch // parts) * parts, padded_length(longest, (), model.context)
        calls, weights = -(-texts // rows), {"weights": weight_shapes(model, mesh)}
        params = meshes.with_shardings(model.shapes, parameter_shardings(model, mesh))
        row = jax.ShapeDtypeStruct((rows, time), jnp.int32, sharding=meshes.row_sharding(mesh))
        packed = dict.fromkeys(("tokens", "positions", "segments", "loss_mask"), row)
        batching = build_batching(mesh, token_mean, time)
        shapes = jax.eval_shape(batching, packed)
        given = meshes.with_shardings(shapes, jax.tree.map(lambda _: meshes.row_sharding(mesh), shapes))
        yield Program(f"{name}: batch", batching, (packed,), calls, beside={"parameters": params, **weights})
        yield Program(
            f"{name}: score",
            build_scoring(model, mesh, 1.0),
            (params, given),
            calls,
            tokens=rows * time,
            flops=forward_flops(model.config, rows * time, time),
            beside=weights,
        )


@runtime_checkable
class Foreseen(Protocol):
    """A method that can tell its programs before it replies, so that they are planned."""

    def programs(self, sitting: Sitting) -> Iterable[Program]:
        """What ``replies`` will compile, and how often it calls each."""
        ...
