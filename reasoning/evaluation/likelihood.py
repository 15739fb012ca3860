"""Classification by probability instead of text: how likely the model finds a reply that gives each label.

Shapes: P problems, L labels, N tokens of a label's reply.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import jax
import numpy as np
from scipy.special import log_softmax, logsumexp

from reasoning.core.errors import InputError
from reasoning.core.program import Program
from reasoning.core.signatures import Takes
from reasoning.core.user_code import check_shape
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.evaluation.continuations import log_likelihoods
from reasoning.evaluation.exam import Answers, Candidate, Exam, Questions, graded
from reasoning.evaluation.sitting import Sitting
from reasoning.generation.engine import Rollouts
from reasoning.generation.prompts import reply_opening
from reasoning.tasks.classification import labels_of


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
        labels = [labels_of(problem) for problem in questions.problems]
        tokens_PLN, length_PL = self._tokens(candidate, questions, labels)
        asked = [(row, place) for row, names in enumerate(labels) for place in range(len(names))]
        texts = [(questions.prompts[at[0]], tokens_PLN[at][: length_PL[at]].tolist()) for at in asked]
        sums_PL = np.zeros(length_PL.shape)
        sums_PL[tuple(np.transpose(asked))] = log_likelihoods(candidate, texts, candidate.exam.batch)
        log_prob_PL = self._probabilities(sums_PL, length_PL, labels)
        chosen = np.arange(len(labels)), log_prob_PL.argmax(axis=1)
        tokens_P1N, length_P1 = tokens_PLN[chosen][:, None], length_PL[chosen][:, None]
        unsaid_P1N, whole_P1 = np.zeros(tokens_P1N.shape, np.float32), np.zeros(length_P1.shape, bool)
        answers = graded(candidate, questions, Rollouts(tokens_P1N, unsaid_P1N, length_P1, whole_P1))
        probabilities = [
            dict(zip(names, np.exp(row[: len(names)]).tolist(), strict=True))
            for names, row in zip(labels, log_prob_PL, strict=True)
        ]
        return replace(answers, log_probs=sums_PL[chosen][:, None], probabilities=probabilities)

    def programs(self, sitting: Sitting) -> Iterator[Program]:
        """See ``sitting.Foreseen``; a label's reply has as many tokens as the exam allows where none is at hand."""
        exam, labels = sitting.exam, [labels_of(problem) for problem in sitting.problems]
        if not labels:
            sitting.note(f"{self.name}: its problems aren't at hand; each is taken to have two labels")
        texts = sum(map(len, labels)) or 2 * sitting.prompts
        every = {label for each in labels for label in each}
        replies = [sitting.tokens_in(self.form.replace("{label}", label) + exam.chat.end) for label in every]
        longest = min(max(replies, default=exam.max_new_tokens), exam.max_new_tokens)
        yield from sitting.scored(self.name, texts, exam.batch, sitting.longest + longest)

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

    def _probabilities(
        self, sums_PL: np.ndarray, length_PL: np.ndarray, labels: Sequence[tuple[str, ...]]
    ) -> np.ndarray:
        """Log-probabilities [P, L] that are those of all labels of a problem together; -inf where it has fewer."""
        log_prob_PL = np.full(length_PL.shape, -np.inf)
        for names in dict.fromkeys(labels):
            rows = np.array([row for row, each in enumerate(labels) if each == names])
            own = (rows[:, None], np.arange(len(names)))
            weighed_PL = self.weigh(sums_PL[own], length_PL[own])
            check_shape("weigh", self.weigh, weighed_PL, sums_PL[own].shape)
            corrected_PL = self.correct(log_softmax(weighed_PL, axis=1))
            check_shape("correct", self.correct, corrected_PL, sums_PL[own].shape)
            log_prob_PL[own] = log_softmax(corrected_PL, axis=1)
        return log_prob_PL
