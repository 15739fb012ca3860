"""A generative verifier: the model itself is asked whether a reply is right, and its probability of yes is the score.

Nothing is trained (Generative Verifiers, arXiv 2408.15240, section 3.1, zero-shot and without a chain of thought).

Shapes: R replies, E ends of one reply's steps, N texts that are read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from reasoning.core.errors import InputError
from reasoning.core.program import Program
from reasoning.evaluation.continuations import Continuation, log_likelihoods
from reasoning.evaluation.exam import Candidate
from reasoning.evaluation.scorers import Cost, Scorer, Tokens
from reasoning.evaluation.sitting import Sitting
from reasoning.models.flops import forward_flops


@dataclass(frozen=True, kw_only=True)
class Verifier:
    """How a checkpoint is asked about its own replies: with ``question``, which is answered by ``yes`` or ``no``.

    ``{question}`` is the prompt and ``{reply}`` the reply, or its first steps, both as text without special symbols.
    """

    name: str = "verifier"
    question: str = "{question}\n\nProposed answer: {reply}\n\nIs the proposed answer right? Say Yes or No."
    yes: str = "Yes"
    no: str = "No"
    separator: str = ""  # what ends a step that is judged; empty: whole replies only

    def __post_init__(self) -> None:
        if "{reply}" not in self.question:
            raise InputError(f"the verifier {self.name} asks {self.question!r:.60} without {{reply}}; put it in")
        if not self.yes or not self.no or self.yes == self.no:
            raise InputError(f"the verifier {self.name} needs two different answers, and has {self.yes!r}, {self.no!r}")


@dataclass(frozen=True)
class _VerifyingScorer:
    """A candidate that judges replies as ``verifier`` says; see ``scorers.Scorer``."""

    verifier: Verifier
    candidate: Candidate

    @property
    def separator(self) -> str:
        return self.verifier.separator

    def scores(self, prompts: Tokens, replies: Tokens, ends: Tokens) -> list[np.ndarray]:
        """The probability of yes against no at each end. Raises InputError for what exceeds the model's context."""
        texts = list(self._texts(prompts, replies, ends))
        context = self.candidate.model.context
        if (longest := max((sum(map(len, text)) for text in texts), default=0)) > context:
            raise InputError(
                f"the verifier {self.verifier.name} reads {longest} tokens of a question, its reply and what is asked "
                f"of them, more than the model's context of {context}; shorten its question, or lower max_new_tokens"
            )
        sums_N = log_likelihoods(self.candidate, texts, self.candidate.exam.batch)
        judged = expit(sums_N[0::2] - sums_N[1::2])
        stops = np.cumsum([0, *map(len, ends)])
        return [judged[start:stop] for start, stop in zip(stops[:-1], stops[1:], strict=True)]

    def cost(self, prompts: Tokens, replies: Tokens, ends: Tokens) -> Cost:
        """See ``Scorer``: for each end the whole text is read twice, once with each answer."""
        lengths = [sum(map(len, text)) for text in self._texts(prompts, replies, ends)]
        flops = [float(forward_flops(self.candidate.model.config, length, length)) for length in lengths]
        owners = np.repeat(np.arange(len(replies)), [2 * len(own) for own in ends])
        count = len(replies)
        return Cost(np.bincount(owners, lengths, count).astype(np.int64), np.bincount(owners, flops, count))

    def _texts(self, prompts: Tokens, replies: Tokens, ends: Tokens) -> Iterator[Continuation]:
        """What is read for each end of each reply: with yes, then with no."""
        verifier, tokenizer = self.verifier, self.candidate.tokenizer
        answers = tokenizer.encode_batch([verifier.yes, verifier.no])
        for prompt, reply, own in zip(prompts, replies, ends, strict=True):
            question, *so_far = tokenizer.decode_batch(
                [prompt, *(reply[: end + 1] for end in own)], keep_special=False, lenient=True
            )
            for text in so_far:
                asked = verifier.question.replace("{question}", question).replace("{reply}", text)
                # Bytes of no whole character were decoded so; a vocabulary needn't have a symbol for it.
                asked = asked.replace("\ufffd", "")
                ids = tokenizer.encode(self.candidate.exam.chat.prompt(asked))
                yield from ((ids, answer) for answer in answers)


def verifying(verifiers: Sequence[Verifier], candidate: Candidate) -> dict[str, Scorer]:
    """The scorers by which a candidate judges its own replies, by name."""
    return {verifier.name: _VerifyingScorer(verifier, candidate) for verifier in verifiers}


def verifying_told(verifier: Verifier, sitting: Sitting, replies: int, longest: int) -> Iterator[Program]:
    """What a verifier compiles to judge so many replies as wholes, each of which is read with either answer."""
    words = verifier.question.replace("{question}", "").replace("{reply}", "")
    more = sitting.tokens_in(sitting.exam.chat.prompt(words)) + max(map(sitting.tokens_in, (verifier.yes, verifier.no)))
    yield from sitting.scored(verifier.name, 2 * replies, sitting.exam.batch, longest + more)
