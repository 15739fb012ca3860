"""An exam before it is asked: what methods tell of the programs that they will compile, when there is no model yet."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from jax.sharding import Mesh

from reasoning.core import mesh as meshes
from reasoning.core.program import Program
from reasoning.data.tokenizers.tokenizer import Tokenizer, ids_with
from reasoning.evaluation.continuations import reading_told
from reasoning.evaluation.exam import Exam
from reasoning.generation.beam import BeamSettings
from reasoning.generation.calls import growing_told, sampling_told, search_told, weight_shapes
from reasoning.generation.engine import SLOTS
from reasoning.generation.prompts import PromptStyle
from reasoning.generation.sampler import SamplerSettings
from reasoning.generation.shaping import Shaping
from reasoning.models.flops import forward_flops
from reasoning.models.model import Model, parameter_shardings
from reasoning.rollouts.sampling import allowed_by, truncation_of
from reasoning.tasks.problems import Problem
from reasoning.training.program import build_scoring

Reads = Callable[[int, int], Iterable[Program]]
"""What a scorer compiles to read so many texts of at most so many tokens."""


@dataclass(frozen=True)
class Sitting:
    """One model that an exam will ask in one ``style``: how many prompts, tokens of the longest, ids that end a reply.

    ``longest_in`` tells the longest prompt in another style. ``problems`` are empty and ``tokenizer`` is None where
    they aren't at hand. ``note`` hears what is assumed. Of ``scorers`` those are there that can be told.
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
    tokenizer: Tokenizer | None
    note: Callable[[str], None]
    scorers: Mapping[str, Reads] = field(default_factory=dict)

    def tokens_in(self, text: str) -> int:
        """How many tokens a text has; its characters where no tokenizer is at hand."""
        return len(text) if self.tokenizer is None else len(self.tokenizer.encode(text))

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

    def shaped(self, name: str, samples: int, prompts: int, shaping: Shaping) -> Program:
        """What the engine compiles for so many replies to some of the prompts, held within ``shaping``."""
        settings, allowed = self.settings(samples, self.exam.max_new_tokens, self.longest), truncation_of(self.exam)
        more = {"most": self.prompts, "shaping": shaping}
        return sampling_told(name, self.model, self.mesh, settings, prompts, allowed, **more)

    def searched(self, name: str, beams: int) -> Program:
        """What a beam search compiles."""
        settings = BeamSettings(beams, self.exam.max_new_tokens, self.ends, longest_prompt=self.longest)
        return search_told(name, self.model, self.mesh, settings, self.prompts, self.exam.batch)

    def grown(self, name: str, together: int, branches: int, step: int, separator: str) -> Iterator[Program]:
        """What a search over steps of so many tokens compiles, which ``separator`` ends, of ``together`` a problem.

        Problems stand beside each other as the slots hold them, and turn until all replies are at the limit.
        """
        limit = self.exam.max_new_tokens
        separators = () if self.tokenizer is None else ids_with(self.tokenizer, (separator,))
        ends, longest = (*self.ends, *separators), self.longest + limit - 1
        settings = SamplerSettings(branches, step, ends, self.exam.slots, self.longest)
        places = max(1, (self.exam.slots or SLOTS) // together) * meshes.data_parallel_size(self.mesh)
        calls = -(-self.prompts // places) * -(-limit // step)
        allowed = allowed_by(self.exam)
        yield from growing_told(name, self.model, self.mesh, settings, together, longest, calls, allowed)

    def scored(self, name: str, texts: int, batch: int, longest: int) -> Iterator[Program]:
        """What ``continuations.log_likelihoods`` compiles for its longest texts, if all of them are as long."""
        mesh, model, weights = self.mesh, self.model, {"weights": weight_shapes(self.model, self.mesh)}
        params = meshes.with_shardings(model.shapes, parameter_shardings(model, mesh))
        batching, given = reading_told(name, mesh, model.context, texts, batch, longest)
        yield replace(batching, beside={"parameters": params, **weights})
        rows, time = given.tokens.shape
        yield Program(
            f"{name}: score",
            build_scoring(model, mesh, 1.0),
            (params, given),
            batching.calls,
            tokens=rows * time,
            flops=forward_flops(model.config, rows * time, time),
            beside=weights,
        )

    def judged(self, scorer: str, replies: int) -> Iterator[Program]:
        """What a scorer compiles to read so many replies at the limit; nothing of one that can't be told."""
        reads = self.scorers.get(scorer)
        if reads is not None:
            weights = weight_shapes(self.model, self.mesh)
            for program in reads(replies, self.longest + self.exam.max_new_tokens):
                yield replace(program, beside={"weights": weights, **program.beside})


@runtime_checkable
class Foreseen(Protocol):
    """A method that can tell its programs before it replies, so that they are planned."""

    def programs(self, sitting: Sitting) -> Iterable[Program]:
        """What ``replies`` will compile, and how often it calls each."""
        ...
