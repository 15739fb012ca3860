"""Thinking for so many tokens and no more, or for longer than the model would: budget forcing (s1, arXiv 2501.19393).

Shapes: P problems, S samples a problem, R replies of all problems (R = P S), N new tokens.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import jax
import numpy as np

from reasoning.core.errors import InputError
from reasoning.core.program import Program
from reasoning.core.ranges import Index, NonNegative, OptionalSize
from reasoning.data.chat.format import ChatFormat
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.evaluation.exam import Answers, Candidate, Exam, Questions, ask, graded, in_batches, longest_of
from reasoning.evaluation.sitting import Sitting
from reasoning.generation.engine import Rollouts
from reasoning.generation.prompts import PromptStyle, direct, thinking
from reasoning.rollouts.sampling import sampler_for, truncating, truncation_of
from reasoning.rollouts.text import encode_prompts


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Replies that think at most ``tokens`` tokens; whoever isn't done by then has the thought closed, and answers.

    A whole reply takes no more than the exam's ``max_new_tokens``, so the answer has what the budget leaves. ``waits``
    times, where a thought ends before the budget does, its end is taken away and ``wait`` written instead, so that it
    goes on. With ``tokens`` 0 nothing is thought: the answer's opening is given, as the style ``direct`` gives it.
    Lengths are of what the model wrote and of what was written for it; log-probabilities only of the former.
    """

    tokens: OptionalSize
    waits: Index = 0
    wait: str = "Wait"
    samples: OptionalSize = 1  # replies a problem (0: as many as the exam says)
    temperature: NonNegative = 1.0

    @property
    def name(self) -> str:
        return f"budget@{self.tokens}" + (f"_wait{self.waits}" if self.waits else "")

    def check(self, exam: Exam) -> None:
        """Raises InputError where the chat format has no tags of thinking, or no token would be left to answer with."""
        if not exam.chat.think_open or not exam.chat.think_close:
            raise InputError("Budget ends what stands between the tags of thinking, and this chat format has none")
        if self.tokens >= exam.max_new_tokens:
            raise InputError(
                f"Budget thinks for {self.tokens} of the exam's {exam.max_new_tokens} new tokens, which leaves none to "
                "answer with; lower tokens, or raise the exam's max_new_tokens"
            )
        if self.waits and not (self.wait and self.tokens):
            raise InputError("Budget has waits, but nothing to write in place of a thought's end; set wait and tokens")

    def cost(self, exam: Exam) -> int:
        return self.samples or exam.samples

    def replies(self, candidate: Candidate, questions: Questions, key: jax.Array) -> Answers:
        """See ``Method``. Raises InputError where closing the thought, or waiting, takes more room than there is."""
        exam, samples = candidate.exam, self.cost(candidate.exam)
        style = self._style(exam, questions.style)
        context = candidate.model.config.context
        prompts = encode_prompts(
            questions.problems, exam.chat, candidate.tokenizer, exam.max_new_tokens, context, style
        )
        asked = Questions(questions.problems, prompts, style)
        if not self.tokens:
            return ask(candidate, asked, key, samples, self.temperature)
        words = Words.of(exam.chat, candidate.tokenizer, self.wait if self.waits else "")
        room = exam.max_new_tokens - self.tokens - len(words.close)
        self._check_room(room, longest_of(asked), context)

        def write(prompts: Sequence[Sequence[int]], limit: int, longest: int, key: jax.Array) -> Rollouts:
            model, mesh, slots = candidate.model, candidate.mesh, exam.slots
            engine = sampler_for(model, mesh, candidate.tokenizer, exam.chat, 1, limit, slots, longest)
            generate = truncating(engine.generate, truncation_of(exam))
            again = replace(asked, prompts=prompts)
            return in_batches(generate, candidate, again, len(prompts), key, self.temperature)

        each = [prompt for prompt in prompts for _ in range(samples)]
        written = think(write, each, words, self.tokens, self.waits, room, key)
        return _answers(candidate, asked, rollouts_of(written, (len(prompts), samples), exam.max_new_tokens), written)

    def programs(self, sitting: Sitting) -> Iterator[Program]:
        """See ``sitting.Foreseen``; as if each reply had to be waited for, and had its thought closed."""
        exam, samples = sitting.exam, self.cost(sitting.exam)
        longest = sitting.longest_in(self._style(exam, sitting.style))
        if not self.tokens:
            yield sitting.sampled(self.name, samples, longest=longest)
            return
        replies = sitting.prompts * samples
        yield sitting.sampled(f"{self.name}: think", 1, self.tokens, longest, replies)
        if self.waits:
            grown = longest + self.tokens
            yield sitting.sampled(f"{self.name}: wait", 1, self.tokens, grown, replies, self.waits)
        close = sitting.tokens_in(_closing(exam.chat))
        room = exam.max_new_tokens - self.tokens - close
        self._check_room(room, longest, sitting.model.config.context)
        yield sitting.sampled(f"{self.name}: answer", 1, room, longest + self.tokens + close, replies)

    def _style(self, exam: Exam, asked: PromptStyle) -> PromptStyle:
        """How questions are put: with the opening of a thought, or of an answer where nothing is thought."""
        style = thinking(exam.chat) if self.tokens else direct(exam.chat)
        return replace(style, instruction=asked.instruction)

    def _check_room(self, room: int, longest: int, context: int) -> None:
        """Raises InputError where the model's context or the exam's new tokens have no place for what is forced."""
        if room < 1:
            raise InputError(
                f"Budget of {self.tokens} tokens: the end of the thought leaves no token to answer with; lower tokens, "
                "or raise the exam's max_new_tokens"
            )
        if self.waits and longest + 2 * self.tokens > context:
            raise InputError(
                f"Budget of {self.tokens} tokens with waits reads a prompt of {longest} tokens with its thought and "
                f"leaves as much room again, more than the model's context of {context}; lower tokens"
            )


@dataclass
class _Reply:
    """A reply as it grows: its tokens with their log-probabilities (0: not drawn), how many were drawn, dropped ones
    too, and whether it has ended."""

    tokens: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    drawn: int = 0
    over: bool = False


def _closing(chat: ChatFormat) -> str:
    """What ends a thought and opens the answer."""
    return chat.think_close + (chat.answer_open or "\n\n")


_Write = Callable[[Sequence[Sequence[int]], int, int, jax.Array], Rollouts]
"""One reply to each prompt: of at most so many tokens, to prompts of at most so many, by the numbers of a key."""


@dataclass(frozen=True)
class Words:
    """What is written into replies, as ids, and where their thoughts end."""

    tokenizer: Tokenizer
    think_close: str
    close: list[int]
    wait: list[int]

    @staticmethod
    def of(chat: ChatFormat, tokenizer: Tokenizer, wait: str) -> "Words":
        """Those of a chat format."""
        return Words(tokenizer, chat.think_close, tokenizer.encode(_closing(chat)), tokenizer.encode(wait))

    def text(self, tokens: Sequence[int]) -> str:
        """What stands there; ids without a text count as one character."""
        return self.tokenizer.decode_batch([tokens], lenient=True)[0]

    def waits(self, reply: _Reply, budget: int) -> bool:
        """Takes away the end of a thought that is shorter than the budget, and says whether it did."""
        end = self.text(reply.tokens).find(self.think_close)
        if end < 0:
            return False
        lengths = range(len(reply.tokens) + 1)
        inside = bisect_right(lengths, end, key=lambda count: len(self.text(reply.tokens[:count]))) - 1
        if inside + len(self.wait) >= budget:
            return False
        reply.tokens = [*reply.tokens[:inside], *self.wait]
        reply.log_probs = [*reply.log_probs[:inside], *(0.0 for _ in self.wait)]
        reply.over = False
        return True

    def close_thought(self, reply: _Reply) -> None:
        """Ends a thought that goes on still, and opens the answer."""
        if self.think_close not in self.text(reply.tokens):
            reply.tokens = [*reply.tokens, *self.close]
            reply.log_probs = [*reply.log_probs, *(0.0 for _ in self.close)]


def think(
    write: _Write, prompts: Sequence[Sequence[int]], words: Words, tokens: int, waits: int, room: int, key: jax.Array
) -> list[_Reply]:
    """A reply to each prompt that thinks at most ``tokens`` tokens and answers with at most ``room`` (``Budget``).

    No reply is longer than is told at each of the calls of ``write``, so that each is one program.
    """
    longest = max(map(len, prompts))
    written = [_Reply() for _ in prompts]

    def go_on(chosen: Sequence[int], limit: int, grown: int, key: jax.Array, budget: int = 0) -> None:
        """Lets each chosen reply go on for up to ``limit`` tokens; with a ``budget`` until it has so many."""
        if not chosen:
            return
        asked = [[*prompts[number], *written[number].tokens] for number in chosen]
        rollouts = write(asked, limit, longest + grown, key)
        for row, number in enumerate(chosen):
            reply, length = written[number], int(rollouts.lengths[row, 0])
            kept = min(length, budget - len(reply.tokens)) if budget else length
            reply.tokens = [*reply.tokens, *rollouts.tokens[row, 0, :kept].tolist()]
            reply.log_probs = [*reply.log_probs, *rollouts.log_probs[row, 0, :kept].tolist()]
            reply.drawn += length
            reply.over = kept == length and not bool(rollouts.truncated[row, 0])

    go_on(range(len(written)), tokens, 0, key)
    for turn in range(1, waits + 1):
        thinkers = [number for number, reply in enumerate(written) if words.waits(reply, tokens)]
        go_on(thinkers, tokens, tokens, jax.random.fold_in(key, turn), tokens)
    unfinished = [number for number, reply in enumerate(written) if not reply.over]
    for number in unfinished:
        words.close_thought(written[number])
    # A stream of its own: it would begin with the very numbers that thoughts were drawn with.
    go_on(unfinished, room, tokens + len(words.close), jax.random.fold_in(key, waits + 1))
    return written


def rollouts_of(written: Sequence[_Reply], shape: tuple[int, int], room: int) -> Rollouts:
    """Replies of [P, S] as an engine would give them; a reply's whole log-probability stands at its first token."""
    tokens_RN = np.zeros((len(written), room), np.int32)
    log_probs_RN = np.zeros(tokens_RN.shape, np.float64)
    for row, reply in enumerate(written):
        tokens_RN[row, : len(reply.tokens)] = reply.tokens
        log_probs_RN[row, 0] = math.fsum(reply.log_probs)
    return Rollouts(
        tokens_RN.reshape(*shape, room),
        log_probs_RN.reshape(*shape, room),
        np.array([len(reply.tokens) for reply in written]).reshape(shape),
        np.array([not reply.over for reply in written]).reshape(shape),
    )


def _answers(candidate: Candidate, asked: Questions, rollouts: Rollouts, written: Sequence[_Reply]) -> Answers:
    """The replies, graded as the exam grades those that it samples."""
    drawn_PS = np.array([reply.drawn for reply in written]).reshape(rollouts.lengths.shape)
    # What a mean of replies takes a problem is what one of them took.
    return replace(graded(candidate, asked, rollouts), spent=np.rint(drawn_PS.mean(axis=1)).astype(np.int64))
