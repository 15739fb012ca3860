"""Classification by probability instead of text: how likely the model finds a reply that gives each label.

Shapes: P problems, L labels, B = P * L slots, T prompt time, N tokens of a label's reply, D model width, V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from scipy.special import log_softmax, logsumexp

from reasoning.core import mesh as meshes
from reasoning.core.errors import InputError
from reasoning.core.signatures import Takes
from reasoning.core.user_code import check_shape
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.evaluation.exam import Answers, Candidate, Exam, Questions, graded, in_batches, longest_of
from reasoning.generation.engine import PromptShapes, Rollouts, decode_shardings, padded, rows_multiple
from reasoning.generation.prompts import reply_opening
from reasoning.generation.reading import read_prompts
from reasoning.generation.shaping import Shaping
from reasoning.generation.truncation import Truncation
from reasoning.generation.watching import Watch
from reasoning.models.cache import Weights
from reasoning.models.decoder import soft_capped
from reasoning.models.model import LanguageModel
from reasoning.tasks.classification import LABELS
from reasoning.tasks.problems import Problem


def total(log_prob_PL: np.ndarray, length_PL: np.ndarray) -> np.ndarray:
    """A reply's log-probability as it is: what sampling until a label comes out would choose by."""
    return log_prob_PL


def per_token(log_prob_PL: np.ndarray, length_PL: np.ndarray) -> np.ndarray:
    """The mean over a reply's tokens, so that a label isn't unlikely for being long; its probabilities are no shares
    of what a model would write.
    """
    return log_prob_PL / length_PL


def as_found(log_prob_PL: np.ndarray) -> np.ndarray:
    """The labels' probabilities as the model gives them, its bias to some label included."""
    return log_prob_PL


def without_prior(log_prob_PL: np.ndarray) -> np.ndarray:
    """Divides each label's probability by its mean over all problems, so that no label is favoured whatever the text.

    Batch calibration (Zhou et al. 2024, arXiv 2309.17249, equation 5); it takes labels to be about equally common.
    """
    return log_prob_PL - (logsumexp(log_prob_PL, axis=0, keepdims=True) - np.log(len(log_prob_PL)))


_Weighing = Annotated[Callable[[np.ndarray, np.ndarray], np.ndarray], Takes(("log_prob_PL", "length_PL"))]
_Correction = Annotated[Callable[[np.ndarray], np.ndarray], Takes(("log_prob_PL",))]


@dataclass(frozen=True, kw_only=True)
class Likelihood:
    """Chooses the label whose reply is the likeliest, with a probability for each, which add up to 1.

    A label's reply is ``form`` and the chat format's end. ``weigh`` makes a number of its log-probability and length,
    ``correct`` changes the labels' log-probabilities over all problems of the same labels. Of reasoning models it asks
    what they think without thinking. Nothing is drawn, nothing decoded; problems need a column ``labels``.
    """

    name: str = "likelihood"
    form: str = "{label}"  # the reply that gives a label, as the model would write it, spaces and tags included
    weigh: _Weighing = total
    correct: _Correction = as_found

    def __post_init__(self) -> None:
        if "{label}" not in self.form:
            raise InputError(f"form is {self.form!r:.60} without {{label}}, so that all labels would be the same")

    def cost(self, exam: Exam) -> int:
        return 1

    def replies(self, candidate: Candidate, questions: Questions, key: jax.Array) -> Answers:
        """See ``evaluation.methods.Method``; nothing is drawn."""
        labels = [_labels(problem) for problem in questions.problems]
        tokens_PLN, length_PL = self._tokens(candidate, questions, labels)
        mesh, exam = candidate.mesh, candidate.exam
        score = _build_scoring(candidate.model, mesh, longest_of(questions), tokens_PLN.shape[2])

        def of_labels(
            weights: Weights,
            prompts: Sequence[Sequence[int]],
            ids: Sequence[int],
            key: jax.Array,
            temperature: float,
            *,
            rows: int = 0,
            truncation: Truncation | None = None,
            shaping: Shaping | None = None,
            watch: Watch | None = None,
        ) -> Rollouts:
            own = list(ids)
            log_prob_PLN = score(weights, prompts, tokens_PLN[own], length_PL[own], rows)
            return Rollouts(tokens_PLN[own], log_prob_PLN, length_PL[own], np.zeros(length_PL[own].shape, bool))

        rollouts = in_batches(of_labels, candidate, questions, exam.batch, key, 0.0)
        log_prob_PL = self._probabilities(rollouts, labels)
        rows_P, chosen_P = np.arange(len(labels)), log_prob_PL.argmax(axis=1)
        first = Rollouts(*(getattr(rollouts, name)[rows_P, chosen_P][:, None] for name in Rollouts.names()))
        answers = graded(candidate, questions, first)
        answers.probabilities.extend(
            dict(zip(names, np.exp(row[: len(names)]).tolist(), strict=True))
            for names, row in zip(labels, log_prob_PL, strict=True)
        )
        return answers

    def _tokens(
        self, candidate: Candidate, questions: Questions, labels: Sequence[Sequence[str]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Tokens [P, L, N] and their number [P, L] of every label's reply, behind what the prompt gives of it."""
        exam = candidate.exam
        opening = reply_opening(questions.style, exam.chat)
        every = tuple(dict.fromkeys(label for each in labels for label in each))
        encoded = dict(zip(every, self._encoded(every, opening, exam.chat.end, candidate.tokenizer), strict=True))
        longest = max(map(len, encoded.values()))
        if longest > exam.max_new_tokens:
            raise InputError(
                f"the method {self.name} has labels of {longest} tokens, and the exam's max_new_tokens is "
                f"{exam.max_new_tokens}; raise it"
            )
        shape = (len(labels), max(map(len, labels)))
        tokens_PLN, length_PL = np.zeros((*shape, longest), np.int32), np.zeros(shape, np.int32)
        for row, names in enumerate(labels):
            for place, name in enumerate(names):
                ids = encoded[name]
                tokens_PLN[row, place, : len(ids)], length_PL[row, place] = ids, len(ids)
        return tokens_PLN, length_PL

    def _encoded(self, labels: Sequence[str], opening: str, end: str, tokenizer: Tokenizer) -> list[list[int]]:
        replies = [self.form.replace("{label}", label) for label in labels]
        if any(not reply.startswith(opening) for reply in replies):
            raise InputError(
                f"the prompt begins replies with {opening!r:.40}, and the form {self.form!r:.60} of the method "
                f"{self.name} doesn't; begin it so"
            )
        return tokenizer.encode_batch([reply.removeprefix(opening) + end for reply in replies])

    def _probabilities(self, rollouts: Rollouts, labels: Sequence[tuple[str, ...]]) -> np.ndarray:
        """Log-probabilities [P, L] that are those of all labels of a problem together; -inf where it has fewer."""
        log_prob_PL = np.full(rollouts.lengths.shape, -np.inf)
        sums_PL = rollouts.log_probs.sum(axis=-1, dtype=np.float64)
        for names in dict.fromkeys(labels):
            rows = np.array([row for row, each in enumerate(labels) if each == names])
            own = (rows[:, None], np.arange(len(names)))
            weighed_PL = self.weigh(sums_PL[own], rollouts.lengths[own])
            check_shape("weigh", self.weigh, weighed_PL, sums_PL[own].shape)
            corrected_PL = self.correct(log_softmax(weighed_PL, axis=1))
            check_shape("correct", self.correct, corrected_PL, sums_PL[own].shape)
            log_prob_PL[own] = log_softmax(corrected_PL, axis=1)
        return log_prob_PL


def _labels(problem: Problem) -> tuple[str, ...]:
    """A problem's labels in alphabetic order, whatever the order in its question is."""
    labels = problem.columns.get(LABELS)
    if not isinstance(labels, Sequence) or isinstance(labels, str) or not labels:
        raise InputError(
            f"the problem {problem.question!r:.60} ({problem.kind}) has no labels to choose from: its column "
            f"{LABELS!r} is {labels!r:.40}; drop the method that asks for their likelihood, or give it labels"
        )
    return tuple(sorted(labels))


def _label_log_probs(
    model: LanguageModel,
    weights: Weights,
    prompts_PT: jax.Array,
    lengths_P: jax.Array,
    labels_PLN: jax.Array,
    length_PL: jax.Array,
) -> jax.Array:
    """Log-probabilities [P, L, N] of each label's tokens behind a prompt, 0 beyond a label's length.

    A prompt is read once; its labels are then read side by side, token by token, from copies of its cache.
    """
    (prompts, time), (_, labels, longest) = prompts_PT.shape, labels_PLN.shape
    pin = partial(meshes.constrain, model.mesh)
    read = read_prompts(model, weights, prompts_PT, lengths_P, time + longest)
    hidden_BD, cache = jax.tree.map(
        lambda leaf: pin(jnp.repeat(leaf, labels, axis=0), ("batch",) + (None,) * (leaf.ndim - 1)), read
    )
    head_DV = model.unembedding(weights)

    def one_token(now: tuple[jax.Array, Any], token_B: jax.Array) -> tuple[tuple[jax.Array, Any], jax.Array]:
        hidden_BD, cache = now
        logits_BV = soft_capped(jnp.dot(hidden_BD, head_DV, preferred_element_type=jnp.float32), model.soft_cap)
        log_prob_B = jnp.take_along_axis(jax.nn.log_softmax(logits_BV), token_B[:, None], axis=1)[:, 0]
        return model.decode(weights, token_B, cache), log_prob_B

    tokens_NB = labels_PLN.reshape(prompts * labels, longest).T
    _, log_prob_NB = jax.lax.scan(one_token, (hidden_BD, cache), tokens_NB)
    log_prob_PLN = log_prob_NB.T.reshape(labels_PLN.shape)
    return jnp.where(jnp.arange(longest) < length_PL[:, :, None], log_prob_PLN, 0.0)


@lru_cache(32)
def _build_scoring(model: LanguageModel, mesh: Mesh, longest_prompt: int, longest: int) -> Callable[..., np.ndarray]:
    """``(weights, prompts, labels_PLN, length_PL, rows) -> log_prob_PLN`` of this process's prompts.

    One program is compiled a bucket of prompt lengths; at least ``rows`` rows are computed, as an engine does.
    """
    split = meshes.row_sharding(mesh)
    run = jax.jit(
        partial(_label_log_probs, model),
        in_shardings=(decode_shardings(model, mesh), split, split, split, split),
        out_shardings=split,
    )
    shapes = PromptShapes(longest_prompt, rows_multiple(mesh), model.context, longest)

    def score(
        weights: Weights,
        prompts: Sequence[Sequence[int]],
        labels_PLN: np.ndarray,
        length_PL: np.ndarray,
        rows: int,
    ) -> np.ndarray:
        tokens_PT, lengths_P = padded(prompts, rows, shapes)
        missing = [(0, len(lengths_P) - len(prompts))]
        filled = [np.pad(array, missing + [(0, 0)] * (array.ndim - 1)) for array in (labels_PLN, length_PL)]
        return meshes.local_rows(run(weights, *meshes.to_global(mesh, (tokens_PT, lengths_P, *filled))))[: len(prompts)]

    return score
