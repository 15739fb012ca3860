"""What steps of replies are worth, by how often the model ends right from there: labels without people.

Math-Shepherd (Wang et al. 2024, arXiv 2312.08935, section 3.2).

Shapes: P problems, S samples a problem, Q steps, K completions of a step, N new tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import jax
import numpy as np
from jax.sharding import Mesh

from reasoning.core.errors import InputError
from reasoning.core.ranges import Count
from reasoning.core.signatures import Takes
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.evaluation.exam import judged
from reasoning.evaluation.scorers import step_ends
from reasoning.generation.engine import Engine, Rollouts
from reasoning.models.cache import Weights
from reasoning.models.model import Model
from reasoning.rewards.reward import reward_name
from reasoning.rollouts.sampling import TruncatedSampling, sample_for_all, sampler_for, truncating, truncation_of
from reasoning.tasks.problems import Problem

NO_LABEL = -1.0
"""Where nothing is known: a step whose completions, or a reply which, could not be graded."""

_GROUPS, _MOST_GROUPS = 4, 16
"""Prefixes are gone on with in so many groups of like length, each a program, and in a tight context in more."""


def share(right: int, graded: int) -> float:
    """The share of completions that end right: the soft estimate (arXiv 2312.08935, eq. 4)."""
    return right / graded


def any_right(right: int, graded: int) -> float:
    """1 where some completion ends right: the hard estimate (arXiv 2312.08935, eq. 3)."""
    return float(right > 0)


_LabelRule = Annotated[Callable[[int, int], float], Takes(("right", "graded"))]
"""``(right, graded)`` completions, of at least one graded, to a label in 0..1."""


@dataclass(frozen=True, kw_only=True)
class Steps:
    """How steps of replies are labelled: from the end of each ``completions`` are sampled, and graded as replies are.

    The last step's label is that of the reply itself.
    """

    separator: str  # the text with which a step ends
    completions: Count = 8
    label: _LabelRule = share

    def __post_init__(self) -> None:
        if not self.separator:
            raise InputError("the steps' separator is empty; name the text with which a step ends, or drop steps")


@dataclass(frozen=True)
class Writer:
    """Who writes replies and goes on with them: a model with the weights that decode, and how it is asked."""

    sampling: TruncatedSampling
    model: Model
    mesh: Mesh
    tokenizer: Tokenizer
    weights: Weights
    longest: int  # tokens of the longest prompt

    def engine(self, samples: int, limit: int, longest: int) -> Engine:
        """The engine that writes so many replies of so many tokens to prompts of ``longest`` tokens."""
        sampling = self.sampling
        return sampler_for(
            self.model, self.mesh, self.tokenizer, sampling.chat, samples, limit, sampling.slots, longest
        )

    def replies(self, prompts: Sequence[Sequence[int]], first: int, batch: int, key: jax.Array) -> Rollouts:
        """Replies to a batch of all ``prompts``, on every process."""
        engine = self.engine(self.sampling.samples, self.sampling.max_new_tokens, self.longest)
        generate = truncating(engine.generate, truncation_of(self.sampling))
        return sample_for_all(generate, self.weights, prompts, first, batch, key, self.sampling.temperature)

    def completions(self, prefixes: Sequence["Prefix"], samples: int, key: jax.Array) -> Rollouts:
        """Whole replies [Q, K] that go on from each prefix, prefix included; cut where they take more than a reply may.

        A reply so far is read as part of the prompt. Prefixes of like length are gone on with together, each with as
        much room as the shortest may need; in a context that hardly holds a reply, with what the longest leaves.
        """
        limit = self.sampling.max_new_tokens
        groups = groups_of(limit, self.longest, self.model.context)
        width = _width(limit, self.longest, self.model.context)
        tokens_QKN = np.zeros((len(prefixes), samples, limit), np.int32)
        lengths_QK, cut_QK = np.zeros((len(prefixes), samples), np.int64), np.ones((len(prefixes), samples), bool)
        for group, (longest, room) in enumerate(groups):
            own = [number for number, each in enumerate(prefixes) if len(each.written) // width == group]
            if not own:
                continue
            asked = [[*prefixes[number].prompt, *prefixes[number].written] for number in own]
            generate = truncating(self.engine(samples, room, longest).generate, truncation_of(self.sampling))
            drawn = sample_for_all(
                generate, self.weights, asked, 0, len(asked), jax.random.fold_in(key, group), self.sampling.temperature
            )
            for row, number in enumerate(own):
                before = prefixes[number].written
                for sample in range(samples):
                    kept = min(int(drawn.lengths[row, sample]), limit - len(before))
                    whole = [*before, *drawn.tokens[row, sample, :kept].tolist()]
                    tokens_QKN[number, sample, : len(whole)] = whole
                    lengths_QK[number, sample] = len(whole)
                    over = kept < drawn.lengths[row, sample]
                    cut_QK[number, sample] = over or bool(drawn.truncated[row, sample])
        return Rollouts(tokens_QKN, np.zeros(tokens_QKN.shape, np.float32), lengths_QK, cut_QK)


def _width(limit: int, longest: int, context: int) -> int:
    """Of how many lengths the prefixes of a group are."""
    spare = context - longest - limit
    return max(-(-limit // _MOST_GROUPS), min(-(-limit // _GROUPS), spare + 1))


def groups_of(limit: int, longest: int, context: int) -> list[tuple[int, int]]:
    """Of each group of prefixes, the shorter ones first: tokens of the longest with its prompt, and how many follow.

    Replies have up to ``limit`` tokens behind prompts of up to ``longest``.
    """
    width = _width(limit, longest, context)
    lengths = [longest + min((group + 1) * width, limit) - 1 for group in range(-(-limit // width))]
    return [(read, min(limit - group * width, context - read)) for group, read in enumerate(lengths)]


@dataclass(frozen=True)
class Prefix:
    """A reply up to the end of a step: its problem's number in the batch, the prompt, and the ids that were written."""

    problem: int
    prompt: Sequence[int]
    written: list[int]


@dataclass(frozen=True)
class Labelled:
    """A reply's ids, the places at which its steps end, and their labels (``NO_LABEL``: none)."""

    prompt: list[int]
    reply: list[int]
    ends: list[int]
    labels: list[float]


def labels_of(
    writer: Writer,
    problems: Sequence[Problem],
    prompts: Sequence[Sequence[int]],
    rollouts: Rollouts,
    right: Callable,
    steps: Steps | None,
    key: jax.Array,
) -> tuple[list[Labelled], int]:
    """The labels of a batch's replies, and how many tokens their steps' completions took; without ``steps`` none did.

    ``right`` is the reward that says 1 of what is right. A reply that it doesn't apply to, or couldn't grade, is left
    out.
    """
    own_PS = _right(writer, problems, rollouts, right)
    found: list[Labelled] = []
    prefixes: list[Prefix] = []
    at: list[tuple[int, int]] = []
    for problem, prompt in enumerate(prompts):
        for sample, length in enumerate(rollouts.lengths[problem]):
            reply = rollouts.tokens[problem, sample, : int(length)].tolist()
            if np.isnan(own_PS[problem, sample]) or not reply:
                continue
            ends = step_ends(writer.tokenizer, reply, steps.separator if steps else "")
            for place, end in enumerate(ends[:-1]):
                at.append((len(found), place))
                prefixes.append(Prefix(problem, prompt, reply[: end + 1]))
            labels = [NO_LABEL] * (len(ends) - 1) + [float(own_PS[problem, sample])]
            found.append(Labelled(list(prompt), reply, ends, labels))
    if steps is None or not prefixes:
        return found, 0
    whole = writer.completions(prefixes, steps.completions, key)
    right_QK = _right(writer, [problems[prefix.problem] for prefix in prefixes], whole, right)
    for (reply, place), right_K in zip(at, right_QK, strict=True):
        graded = int((~np.isnan(right_K)).sum())
        if graded:
            found[reply].labels[place] = float(steps.label(int(np.nansum(right_K)), graded))
    written = sum(len(prefix.written) for prefix in prefixes) * steps.completions
    return found, int(whole.lengths.sum()) - written


def _right(writer: Writer, problems: Sequence[Problem], rollouts: Rollouts, right: Callable) -> np.ndarray:
    """1 or 0 of each reply; NaN where it can't be told."""
    answers = judged((right,), problems, rollouts, writer.tokenizer, writer.sampling.chat)
    values = answers.scores[reward_name(right)]
    return np.where(np.isnan(values), np.nan, (values >= 1).astype(float))
