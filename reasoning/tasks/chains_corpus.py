"""Texts about chains to pretrain on: mostly answers at once, some worked out, few in the form that is rewarded later.

The mix leaves a base model that can reason but seldom does, so reinforcement learning has something to find.
"""

import random
from dataclasses import dataclass

from reasoning.core.errors import InputError
from reasoning.core.ranges import Count, Fraction, NonNegative
from reasoning.data.chat import ChatFormat
from reasoning.data.documents import Document, Piece
from reasoning.tasks import chains
from reasoning.tasks.splits import split_of

TO_LETTERS = str.maketrans(chains.DIGITS, chains.LETTERS)


@dataclass(frozen=True)
class ChainsCorpus:
    """A writer of pretraining documents, one for each number; call it with a seed, a number and a chat format.

    The first eight fields are the kinds' shares, of which only the ratios count. It never asks a test question,
    though it writes down single equations (``8-3=5``) of all kinds: they are steps, not questions.
    """

    direct: NonNegative = 0.46  # 3+8-5?=6
    direct_tagged: NonNegative = 0.09  # 3+8-5?<answer>6</answer>
    steps: NonNegative = 0.14  # 3+8-5?3+8=1,1-5=6=6
    paired_steps: NonNegative = 0.05  # the same with two terms a step: 3+8-5=6=6
    tagged: NonNegative = 0.08  # 3+8-5?<think>3+8=1,1-5=6</think><answer>6</answer>
    paired_tagged: NonNegative = 0.03
    second_language: NonNegative = 0.05  # tagged, and the thinking counts in the letters A to J
    drill: NonNegative = 0.10  # 8-3=5,7+8=5,6-9=7
    # Of the direct documents, the share whose answer is drawn by lot; of all steps, the share whose result is.
    random_answer: Fraction = 0.30
    random_step: Fraction = 0.02
    # The share of documents, of whatever kind, that are written as a user's question and an assistant's reply.
    chat: Fraction = 0.20
    minimum_operands: chains.Operations = 2
    maximum_operands: chains.Operations = 6
    minimum_facts: Count = 3
    maximum_facts: Count = 6
    modulus: chains.Modulus = 10

    def __post_init__(self) -> None:
        chains.check_lengths(self.minimum_operands, self.maximum_operands, "ChainsCorpus")
        if self.minimum_facts > self.maximum_facts:
            raise InputError(
                f"ChainsCorpus has minimum_facts={self.minimum_facts} above maximum_facts={self.maximum_facts}; "
                "swap them or change one"
            )
        if sum(self._shares().values()) <= 0:
            raise InputError("ChainsCorpus has no kind of document with a share above zero; give at least one")

    @property
    def symbols(self) -> tuple[str, ...]:
        """What the tokenizer has to hold as single tokens, beside the chat format's own symbols."""
        return chains.symbols()

    def __call__(self, seed: int, index: int, chat: ChatFormat) -> Document:
        """Document ``index`` of the corpus ``seed``; it depends on nothing else. Every token of it is learnt."""
        generator = random.Random(f"chains corpus/{seed}/{index}")
        shares = self._shares()
        (kind,) = generator.choices(tuple(shares), tuple(shares.values()))
        question, reply = self._drill(generator) if kind == "drill" else self._chain(kind, generator, chat)
        if generator.random() < self.chat:
            return Document((Piece(chat.prompt(question) + reply + chat.end, learn=True),))
        return chat.plain(question + reply)

    def _shares(self) -> dict[str, float]:
        return {
            "direct": self.direct,
            "direct_tagged": self.direct_tagged,
            "steps": self.steps,
            "paired_steps": self.paired_steps,
            "tagged": self.tagged,
            "paired_tagged": self.paired_tagged,
            "second_language": self.second_language,
            "drill": self.drill,
        }

    def _drill(self, generator: random.Random) -> tuple[str, str]:
        """Single equations; nothing is asked, so a conversation made of them has an empty question."""
        number = self.minimum_facts + int(generator.random() * (self.maximum_facts - self.minimum_facts + 1))
        facts = (chains.draw(generator, 2, self.modulus) for _ in range(number))
        return "", ",".join(chains.worked_steps(fact, self.modulus)[0] for fact in facts)

    def _chain(self, kind: str, generator: random.Random, chat: ChatFormat) -> tuple[str, str]:
        operands = train_chain(generator, self.minimum_operands, self.maximum_operands, self.modulus)
        question = chains.question(operands)
        right = chains.answer(operands, self.modulus)
        if kind == "direct":
            by_lot = generator.random() < self.random_answer
            return question, f"={int(generator.random() * self.modulus) if by_lot else right}"
        if kind == "direct_tagged":
            return question, f"{chat.answer_open}{right}{chat.answer_close}"

        def result(value: int) -> int:
            slip = generator.random() < self.random_step
            return int(generator.random() * self.modulus) if slip else value

        terms = 2 if kind in ("paired_steps", "paired_tagged") else 1
        written, value = chains.worked_steps(operands, self.modulus, terms, result)
        if kind in ("steps", "paired_steps"):
            return question, f"{written}={value}"
        if kind == "second_language":
            written = written.translate(TO_LETTERS)
        return question, tagged_reply(written, value, chat)


@dataclass(frozen=True)
class ChainsDemonstrations:
    """A writer of right, readable, worked answers for supervised fine-tuning; called like ``ChainsCorpus``."""

    minimum_operands: chains.Operations = 4
    maximum_operands: chains.Operations = 6
    modulus: chains.Modulus = 10

    def __post_init__(self) -> None:
        chains.check_lengths(self.minimum_operands, self.maximum_operands, "ChainsDemonstrations")

    @property
    def symbols(self) -> tuple[str, ...]:
        """What the tokenizer has to hold as single tokens, beside the chat format's own symbols."""
        return chains.symbols()

    def __call__(self, seed: int, index: int, chat: ChatFormat) -> Document:
        """Exchange ``index`` of the collection ``seed``: a train question and a tagged reply; the reply is learnt."""
        generator = random.Random(f"chains demonstrations/{seed}/{index}")
        operands = train_chain(generator, self.minimum_operands, self.maximum_operands, self.modulus)
        return chat.exchange(
            chains.question(operands), tagged_reply(*chains.worked_steps(operands, self.modulus), chat)
        )


def tagged_reply(thinking: str, answer: int, chat: ChatFormat) -> str:
    """The form that the rewards ask for: thinking between its tags, then the answer between its own."""
    return f"{chat.think_open}{thinking}{chat.think_close}{chat.answer_open}{answer}{chat.answer_close}"


def train_chain(generator: random.Random, minimum: int, maximum: int, modulus: int) -> chains.Operands:
    """A chain whose question may be trained on; the lengths are equally likely."""
    length = minimum + int(generator.random() * (maximum - minimum + 1))
    while True:
        operands = chains.draw(generator, length, modulus)
        if split_of(chains.question(operands)) == "train":
            return operands
