"""A trained model as notebooks hold it: its config, parameters and tokenizer, and a way to ask it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import jax
from jax.sharding import Mesh

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.formats import formats
from reasoning.data.tokenizers.tokenizer import Tokenizer, end_ids
from reasoning.generation.engine import Engine, Rollouts, build_engine
from reasoning.generation.sampler import SamplerSettings
from reasoning.generation.voting import tally
from reasoning.models.cache import Weights
from reasoning.models.config import ModelConfig
from reasoning.models.formats.checkpoint_reader import silent
from reasoning.models.model import Model, build_model
from reasoning.models.parameters import Params
from reasoning.rewards.text import extract_answer
from reasoning.rollouts.text import decode_replies
from reasoning.stages.checkpoint import check_vocabulary, model_of, params_of, tokenizer_of
from reasoning.stages.pretrained import find

NEW_TOKENS = 256
"""How long replies may get where nobody says, and where the model's context has room for it."""


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
    ) -> list[list[str]]:
        """``samples`` replies to each question, tags kept; temperature 0 takes the likeliest token each time.

        The same arguments give the same replies. Without ``max_new_tokens`` replies have 256 tokens at most, and no
        more than the context holds. Raises InputError for a question with characters that the tokenizer lacks, or too
        long for the model.
        """
        return self._sample(questions, samples, temperature, max_new_tokens, seed)[0]

    def vote(
        self,
        question: str,
        samples: int = 16,
        temperature: float = 1.0,
        max_new_tokens: int | None = None,
        seed: int = 0,
    ) -> dict[str, int]:
        """How often each answer was given among so many replies to a question, most first; the first is elected.

        The answer is what a reply ends on, whatever its form; replies that give none, or were cut off before their
        end, abstain. Raises what ``generate`` raises.
        """
        [texts], rollouts = self._sample([question], samples, temperature, max_new_tokens, seed)
        replied = zip(texts, rollouts.truncated[0], strict=True)
        votes = tally([None if cut else extract_answer(text, self.chat) for text, cut in replied])
        return {answer: int(votes[answer]) for answer in sorted(votes, key=lambda answer: -votes[answer])}

    def _sample(
        self, questions: Sequence[str], samples: int, temperature: float, max_new_tokens: int | None, seed: int
    ) -> tuple[list[list[str]], Rollouts]:
        if isinstance(questions, str) or not questions:
            raise InputError(f"generate takes a list of questions, not {questions!r:.60}; write generate([question])")
        if samples < 1 or temperature < 0:
            raise InputError(f"samples is {samples} and temperature {temperature}; give at least 1 and at least 0")
        prompts = self.tokenizer.encode_batch([self.chat.prompt(question) for question in questions])
        room = self.config.context - max(map(len, prompts))
        limit = max(1, min(NEW_TOKENS, room)) if max_new_tokens is None else max_new_tokens
        generate, key = self._engine(samples, limit).generate, jax.random.key(seed)
        rollouts = generate(self._weights, prompts, range(len(prompts)), key, temperature)
        return decode_replies(self.tokenizer, rollouts, self.chat, self.chat.opening), rollouts

    @cached_property
    def _weights(self) -> Weights:
        """The parameters as the sampler wants them."""
        return self._engine(1, 1).publish(self.params)

    def _engine(self, samples: int, limit: int) -> Engine:
        settings = SamplerSettings(samples, limit, end_ids(self.tokenizer, self.chat))
        return build_engine(self.model, self.mesh, settings)


def load_artifact(artifact: Artifact, chat: ChatFormat | None, mesh: MeshShape) -> LoadedModel:
    """The model of a stage's checkpoint on the devices at hand; without ``chat`` in the default format.

    Raises InputError for a stage that left no checkpoint, and for a chat format that its tokenizer doesn't know.
    """
    devices = build_mesh(mesh)
    model, tokenizer = model_of(artifact, devices), tokenizer_of(artifact)
    chat = _known_format(tokenizer, chat)
    return LoadedModel(model, devices, tokenizer, chat, partial(params_of, artifact, model, devices))


def load_folder(path: Path, chat: ChatFormat | None, mesh: MeshShape) -> LoadedModel:
    """A model that lies by itself, of no run: what ``reasoning convert`` wrote, or what it reads.

    Raises InputError as ``stages.pretrained.find`` does, and for a chat format that its tokenizer doesn't know.
    """
    pretrained, devices = find(path), build_mesh(mesh)
    model = build_model(pretrained.config, devices)
    check_vocabulary(pretrained.config, pretrained.tokenizer, path.name)
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
