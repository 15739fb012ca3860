"""A trained model as notebooks hold it: its config, parameters and tokenizer, and a way to ask it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh, to_global
from reasoning.data.chat.format import ChatFormat, Message
from reasoning.data.chat.formats import formats
from reasoning.data.tokenizers.tokenizer import Tokenizer, stop_ids
from reasoning.generation.engine import Rollouts
from reasoning.generation.prompts import PromptStyle, reply_opening
from reasoning.generation.truncation import ALL_TOKENS, Truncation
from reasoning.generation.voting import tally
from reasoning.generation.watching import Watch
from reasoning.models.cache import Weights
from reasoning.models.config import ModelConfig
from reasoning.models.formats.checkpoint_reader import silent
from reasoning.models.model import Model, build_model, check_memory
from reasoning.models.parameters import Params
from reasoning.objectives.aggregation import token_mean
from reasoning.rewards.text import extract_answer
from reasoning.rollouts.sampling import sampler_for, truncating
from reasoning.rollouts.text import AS_IT_IS, decode_replies, encode_prompts
from reasoning.stages.checkpoint import check_vocabulary, model_of, params_of, tokenizer_of
from reasoning.stages.pretrained import find
from reasoning.tasks.problems import Problem
from reasoning.training.functional import rows_of
from reasoning.training.program import build_batching
from reasoning.training.token_scores import score

_NEW_TOKENS = 256
"""How long replies may get where nobody says, and where the model's context has room for it."""


@dataclass(frozen=True)
class ModelReply:
    """One reply: its text, its answer (None where it gives none or was cut off), summed log-probability and tokens."""

    text: str
    answer: str | None
    log_prob: float
    length: int
    truncated: bool


class ScoredToken(NamedTuple):
    """One token of a reply: its text, its log-probability, and the entropy of the choice that it was of, in nats."""

    text: str
    log_prob: float
    entropy: float


@dataclass(frozen=True)
class LoadedModel:
    """A trained model with its tokenizer and chat format. Parameters are read at their first use."""

    model: Model
    mesh: Mesh
    tokenizer: Tokenizer
    chat: ChatFormat
    read: Callable[[], Params]

    @property
    def config(self) -> ModelConfig:
        """Sizes and choices of the architecture."""
        return self.model.config

    @cached_property
    def params(self) -> Params:
        """The parameters as a nested dict of arrays, verified against what was saved."""
        return self.read()

    def generate(
        self,
        questions: Sequence[str],
        samples: int = 1,
        temperature: float = 1.0,
        max_new_tokens: int | None = None,
        seed: int = 0,
        *,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
    ) -> list[list[str]]:
        """``samples`` replies to each question, tags kept; temperature 0 takes the likeliest token each time.

        ``top_k``, ``top_p`` and ``min_p`` leave unlikely tokens out (``generation.truncation``; by default none). The
        same arguments give the same replies. Without ``max_new_tokens`` replies have 256 tokens at most, and no
        more than the context holds. Raises InputError for a question with characters that the tokenizer lacks, or too
        long for the model.
        """
        if isinstance(questions, str) or not questions:
            raise InputError(f"generate takes a list of questions, not {questions!r:.60}; write generate([question])")
        truncation = Truncation(top_k, top_p, min_p)
        replies = self.replies(questions, samples, temperature, max_new_tokens, seed, truncation=truncation)
        return [[reply.text for reply in each] for each in replies]

    def vote(
        self,
        question: str,
        samples: int = 16,
        temperature: float = 1.0,
        max_new_tokens: int | None = None,
        seed: int = 0,
        *,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
    ) -> dict[str, int]:
        """How often each answer was given among so many replies to a question, most first; the first is elected.

        The answer is what a reply ends on, whatever its form; answers of one value (6, 6.0) are one, spelled as it came
        first. Replies that give none, or were cut off before their end, abstain. Raises what ``generate`` raises.
        """
        truncation = Truncation(top_k, top_p, min_p)
        [replies] = self.replies([question], samples, temperature, max_new_tokens, seed, truncation=truncation)
        votes = tally([reply.answer for reply in replies])
        return {answer: int(votes[answer]) for answer in sorted(votes, key=lambda answer: -votes[answer])}

    def replies(
        self,
        questions: Sequence[str],
        samples: int,
        temperature: float,
        max_new_tokens: int | None = None,
        seed: int = 0,
        style: PromptStyle = AS_IT_IS,
        truncation: Truncation = ALL_TOKENS,
        watch: Watch | None = None,
        history: Sequence[Message] = (),
    ) -> list[tuple[ModelReply, ...]]:
        """What ``generate`` samples, with answers, lengths and log-probabilities; questions are put in ``style``.

        A ``watch`` sees them grow (``generation.watching``); ``history`` is what was said before each of them.
        """
        if samples < 1 or not 0 <= temperature < math.inf:
            raise InputError(
                f"{samples} replies at temperature {temperature} can't be sampled; ask for at least one, at 0 or more"
            )
        prompts, limit = self.prompts(questions, max_new_tokens, style, history)
        rollouts = self.rollouts(prompts, samples, temperature, limit, jax.random.key(seed), truncation, watch)
        return self.read_replies(rollouts, style)

    def score_tokens(self, question: str, reply: str) -> tuple[ScoredToken, ...]:
        """What the model holds of each token of a reply that somebody wrote, at temperature 1: to compare models by.

        Raises InputError for a reply without tokens, and for one too long for the model.
        """
        [prompt], _ = self.prompts([question], 1, AS_IT_IS)
        ids = self.tokenizer.encode(reply.removeprefix(self.chat.opening))
        if not ids:
            raise InputError(f"the reply {reply!r:.60} has no tokens to be scored; give one with a text")
        rows = rows_of([(prompt, ids)] * self.mesh.size, self.config.context)
        beyond = -rows["tokens"].shape[1] % self.mesh.shape["context"]
        rows = {name: np.pad(values, ((0, 0), (0, beyond))) for name, values in rows.items()}
        batch = build_batching(self.mesh, token_mean, rows["tokens"].shape[1])(to_global(self.mesh, rows))
        scores = jax.jit(partial(score, self.model))(self.params, batch)
        places = slice(len(prompt) - 1, len(prompt) - 1 + len(ids))
        numbers = zip(*(np.asarray(each[0, places]).tolist() for each in scores[:2]), strict=True)
        texts = self.tokenizer.decode_batch([[token] for token in ids], lenient=True)
        return tuple(ScoredToken(text, *each) for text, each in zip(texts, numbers, strict=True))

    def rollouts(
        self,
        prompts: Sequence[Sequence[int]],
        samples: int,
        temperature: float,
        limit: int,
        key: jax.Array,
        truncation: Truncation = ALL_TOKENS,
        watch: Watch | None = None,
    ) -> Rollouts:
        """``samples`` completions of each prompt, up to ``limit`` tokens; equal keys draw alike."""
        engine = sampler_for(self.model, self.mesh, self.tokenizer, self.chat, samples, limit)
        generate = truncating(engine.generate, truncation)
        return generate(self.weights, prompts, range(len(prompts)), key, temperature, watch=watch)

    def prompts(
        self,
        questions: Sequence[str],
        max_new_tokens: int | None,
        style: PromptStyle,
        history: Sequence[Message] = (),
    ) -> tuple[list[list[int]], int]:
        """The questions as token ids, each behind ``history``, and how many tokens a reply may have.

        Raises InputError as ``encode_prompts`` does, and where what was said before leaves no room.
        """
        problems, context = [Problem(question, "", "") for question in questions], self.config.context
        prompts = encode_prompts(problems, self.chat, self.tokenizer, max_new_tokens or 1, context, style)
        if history:
            texts = [self.chat.conversation([*history, {"role": "user", "content": each}]) for each in questions]
            prompts = [self.tokenizer.encode(text + reply_opening(style, self.chat)) for text in texts]
            if (needed := max(map(len, prompts)) + (max_new_tokens or 1)) > context:
                raise InputError(
                    f"the conversation has grown to {needed} tokens with its next reply, more than the model's context "
                    f"of {context}; begin another one"
                )
        return prompts, max_new_tokens or min(_NEW_TOKENS, context - max(map(len, prompts)))

    @property
    def ends(self) -> tuple[int, ...]:
        """The ids with which a reply ends."""
        return stop_ids(self.tokenizer, self.chat)

    def read_replies(self, rollouts: Rollouts, style: PromptStyle) -> list[tuple[ModelReply, ...]]:
        """Completions, question by question, as replies."""
        texts = decode_replies(self.tokenizer, rollouts, self.chat, reply_opening(style, self.chat))
        numbers = zip(rollouts.log_probs.sum(axis=-1), rollouts.lengths, rollouts.truncated, strict=True)

        def reply(text: str, log_prob: float, length: int, cut: bool) -> ModelReply:
            answer = None if cut else extract_answer(text, self.chat)
            return ModelReply(text, answer, float(log_prob), int(length), bool(cut))

        return [tuple(map(reply, group, *each)) for group, each in zip(texts, numbers, strict=True)]

    @cached_property
    def weights(self) -> Weights:
        """The parameters as decoding wants them."""
        return sampler_for(self.model, self.mesh, self.tokenizer, self.chat, 1, 1).publish(self.params)


def load_artifact(artifact: Artifact, chat: ChatFormat | None, mesh: MeshShape) -> LoadedModel:
    """The model of a stage's checkpoint on the devices at hand; without ``chat`` in the default format.

    Raises InputError for a stage that left no checkpoint, a model that the devices can't hold, and a chat format that
    its tokenizer doesn't know.
    """
    devices = build_mesh(mesh)
    model, tokenizer = model_of(artifact, devices), tokenizer_of(artifact)
    check_memory(model, devices, artifact.stage)
    chat = _known_format(tokenizer, chat)
    return LoadedModel(model, devices, tokenizer, chat, partial(params_of, artifact, model, devices))


def load_folder(path: Path, chat: ChatFormat | None, mesh: MeshShape) -> LoadedModel:
    """A model that lies by itself, of no run: what ``reasoning convert`` wrote, or what it reads.

    Raises InputError as ``stages.pretrained.find`` does, for a model that the devices can't hold, and for a chat format
    that its tokenizer doesn't know.
    """
    pretrained, devices = find(path), build_mesh(mesh)
    model = build_model(pretrained.config, devices)
    check_vocabulary(pretrained.config, pretrained.tokenizer, path.name)
    check_memory(model, devices, path.name)
    chat = _known_format(pretrained.tokenizer, chat)
    return LoadedModel(model, devices, pretrained.tokenizer, chat, partial(pretrained.load, model, devices, silent))


def _known_format(tokenizer: Tokenizer, chat: ChatFormat | None) -> ChatFormat:
    """The format itself, or the default one. Raises InputError where the tokenizer lacks its symbols."""
    if chat is not None:
        tokenizer.check_symbols(chat)
        return chat
    chat = ChatFormat()
    if not all(tokenizer.has_symbol(symbol) for symbol in chat.single_ids()):
        raise InputError(
            "nothing says in which chat format this model is asked, and its tokenizer isn't one of the default "
            f"format's; name it, --chat NAME or chat='NAME', one of {', '.join(formats())}"
        )
    return chat
