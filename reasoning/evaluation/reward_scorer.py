"""A reward model as a scorer: a decoder with a head reads a reply once and judges all of its steps.

Shapes: R replies, E ends of one reply's steps, B rows, T time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jax.sharding import Mesh

from reasoning.core import mesh as meshes
from reasoning.core.errors import InputError
from reasoning.core.mesh import local_rows
from reasoning.core.program import Program
from reasoning.evaluation.continuations import read_all, reading_told
from reasoning.evaluation.scorers import Cost, Tokens
from reasoning.models.config import ModelConfig
from reasoning.models.flops import forward_flops
from reasoning.models.heads import Head
from reasoning.models.model import Model, parameter_shardings
from reasoning.models.parameters import Params
from reasoning.training.batches import TokenBatch
from reasoning.training.scoring import build_judging

NO_MARK = -1


@dataclass(frozen=True)
class RewardScorer:
    """Gives the probability of "right" that ``head`` reads from the state at each asked place; see ``scorers.Scorer``.

    ``batch`` replies are read at once. With a ``mark`` that id is written behind each end, and read there: published
    process reward models are trained so. ``model`` has the head (``heads.with_head``).
    """

    model: Model
    head: Head
    mesh: Mesh
    params: Params
    batch: int
    separator: str
    mark: int = NO_MARK

    def scores(self, prompts: Tokens, replies: Tokens, ends: Tokens) -> list[np.ndarray]:
        """See ``Scorer``. Raises InputError for a text that is longer than the model's context."""
        marked = [self._marked(reply, own) for reply, own in zip(replies, ends, strict=True)]
        texts = [(prompt, ids) for prompt, (ids, _) in zip(prompts, marked, strict=True)]
        longest = max((len(prompt) + len(ids) for prompt, ids in texts), default=0)
        if longest > self.model.context:
            raise InputError(
                f"a reply of {longest} tokens with its prompt exceeds the reward model's context of "
                f"{self.model.context}; lower max_new_tokens, or score by a model that reads more"
            )
        judging = build_judging(self.model, self.head, self.mesh)

        def read(rows: TokenBatch) -> np.ndarray:
            return local_rows(judging(self.params, rows))

        found: list[np.ndarray] = [np.zeros(0)] * len(texts)
        for numbers, values_BT in read_all(self.mesh, self.model.context, texts, self.batch, read):
            for number, values_T in zip(numbers, values_BT, strict=True):
                places = len(texts[number][0]) + np.asarray(marked[number][1], np.int64)
                found[number] = values_T[places].astype(np.float64)
        return found

    def cost(self, prompts: Tokens, replies: Tokens, ends: Tokens) -> Cost:
        """See ``Scorer``: each reply is read once, behind its prompt; no logits of the vocabulary are made."""
        marks = [0 if self.mark == NO_MARK else len(own) for own in ends]
        rows = zip(prompts, replies, marks, strict=True)
        tokens_R = np.array([len(prompt) + len(reply) + more for prompt, reply, more in rows], np.int64)
        config = self.model.config
        flops = [head_flops(config, self.head, int(count), int(count)) for count in tokens_R]
        return Cost(tokens_R, np.array(flops, np.float64))

    def _marked(self, reply: Sequence[int], ends: Sequence[int]) -> tuple[list[int], list[int]]:
        """The reply with a mark behind each end, and the places that are read."""
        if self.mark == NO_MARK:
            return list(reply), list(ends)
        ids: list[int] = []
        start = 0
        places: list[int] = []
        for end in ends:
            ids += [*reply[start : end + 1], self.mark]
            places.append(len(ids) - 1)
            start = end + 1
        return [*ids, *reply[start:]], places


@dataclass(frozen=True)
class ForeseenScorer:
    """A reward model before there are weights: what it takes of the devices, and what it compiles."""

    model: Model
    head: Head
    mesh: Mesh

    @cached_property
    def params(self) -> Any:
        """The shapes of its parameters, where they lie; the same object each time."""
        return meshes.with_shardings(self.model.shapes, parameter_shardings(self.model, self.mesh))

    def judging(self, name: str, batch: TokenBatch) -> Program:
        """The pass that judges a batch of these shapes."""
        rows, time = batch.tokens.shape
        judging = build_judging(self.model, self.head, self.mesh)
        flops = head_flops(self.model.config, self.head, rows * time, time)
        return Program(name, judging, (self.params, batch), tokens=rows * time, flops=flops)

    def programs(self, name: str, batch: int, texts: int, longest: int) -> Iterator[Program]:
        """What ``RewardScorer.scores`` compiles for so many texts of so many tokens; marks behind steps don't count."""
        batching, given = reading_told(name, self.mesh, self.model.context, texts, batch, longest)
        yield batching
        yield replace(self.judging(f"{name}: judge", given), calls=batching.calls)


def head_flops(config: ModelConfig, head: Head, tokens: int, length: int) -> int:
    """Operations to read so many tokens: ``forward_flops`` with the head in the unembedding's place."""
    own = sum(wide * narrow for wide, narrow in head.layers(config.width).values())
    return forward_flops(config, tokens, length) + 2 * tokens * (own - config.width * config.vocabulary)
