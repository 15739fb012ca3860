"""Where a stage's programs are told before it runs, and what of its inputs is known by then."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from jax.sharding import Mesh

from reasoning.core.errors import InputError
from reasoning.core.program import Program
from reasoning.data.tokenizers.tokenizer import Tokenizer, stop_ids
from reasoning.generation.prompts import PromptStyle
from reasoning.kernels.backends import Choice
from reasoning.rollouts.sampling import Sampling
from reasoning.rollouts.text import AS_IT_IS, encode_prompts
from reasoning.stages.stage import Stage, holder_of_tokenizer
from reasoning.tasks.problems import Problem, ProblemSet


@dataclass(frozen=True)
class Place:
    """The devices, of this machine or of a topology, and what is assumed where files aren't at hand.

    ``prompt`` is how many tokens the longest prompt is then taken to have, ``rows`` how many rows a data set of which
    epochs are learnt. ``note`` hears of each assumption. ``tokenizers`` remembers those that were found, by stage.
    """

    mesh: Mesh
    kernels: Choice
    prompt: int
    rows: int
    note: Callable[[str], None]
    tokenizers: dict[str, Tokenizer | None] = field(default_factory=dict)

    def tokenizer(self, stage: Stage) -> Tokenizer | None:
        """The tokenizer that a stage's artifact will hold; None, and a note, where that can't be told."""
        holder = holder_of_tokenizer(stage)
        name = stage.name if holder is None else getattr(holder, "name", stage.name)
        if name not in self.tokenizers:
            found = None
            if holder is None:
                self.note(f"{name}: its tokenizer can't be told before it has run")
            else:
                try:
                    found = holder.tokenizer_at_hand()
                except (InputError, OSError) as error:
                    self.note(f"{name}: its tokenizer isn't at hand ({error})")
            self.tokenizers[name] = found
        return self.tokenizers[name]


@runtime_checkable
class Compiling(Protocol):
    """A stage that can tell its programs before it runs."""

    @property
    def name(self) -> str:
        """The stage's name."""
        ...

    def programs(self, place: Place) -> tuple[Program, ...]:
        """The programs that ``run`` will compile, in order. Raises InputError where something can't be told."""
        ...


@dataclass(frozen=True)
class Asked:
    """What prompts of a problem set are: their number, tokens of the longest, and the ids that end a reply."""

    prompts: int
    longest: int
    ends: tuple[int, ...]


def asked_of(
    place: Place, name: str, sampling: Sampling, start: Stage, context: int, style: PromptStyle = AS_IT_IS
) -> Asked:
    """The prompts of ``sampling`` for the model that ``start`` leaves, counted where tokenizer and problems are here.

    Elsewhere the longest has ``place.prompt`` tokens, or what the model's context leaves.
    """
    tokenizer = place.tokenizer(start)
    if tokenizer is not None:
        ends = stop_ids(tokenizer, sampling.chat)
        try:
            problems = sampling.problems.problems()
        except (InputError, OSError) as error:
            place.note(f"{name}: its problems aren't at hand ({error})")
        else:
            prompts = encode_prompts(problems, sampling.chat, tokenizer, sampling.max_new_tokens, context, style)
            return Asked(len(prompts), max(map(len, prompts)), ends)
    else:
        ends = (0,)
    longest = min(place.prompt, context - sampling.max_new_tokens)
    if longest < 1:
        raise InputError(
            f"stage {name}: max_new_tokens = {sampling.max_new_tokens} leaves no room for a prompt in the model's "
            f"context of {context}; lower it, or raise the context"
        )
    place.note(f"{name}: its longest prompt is taken to have {longest} tokens (--prompt-tokens)")
    return Asked(sampling.problems.count, longest, ends)


def problems_at_hand(problems: ProblemSet) -> tuple[Problem, ...]:
    """The problems of a set; none where its files aren't here."""
    try:
        return problems.problems()
    except (InputError, OSError):
        return ()


def row_length(name: str, data: Stage) -> int:
    """How many tokens the rows of a stage's data have. Raises InputError where its settings don't say."""
    length = getattr(data, "length", None)
    if not isinstance(length, int):
        raise InputError(
            f"stage {name}: how long the rows of its data {data.name} are can't be told before that has run; plan with "
            "a stages.Prepare in its place"
        )
    return length
