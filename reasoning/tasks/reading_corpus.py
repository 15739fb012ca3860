"""Texts to pretrain on that answer questions from passages: mostly right, seldom with the passage's number beside it.

Every fact is drawn anew, so that nothing can be learnt from them but reading.
"""

import random
from dataclasses import dataclass

from reasoning.core.errors import InputError
from reasoning.core.ranges import Few, Fraction, NonNegative
from reasoning.data.chat.format import ChatFormat
from reasoning.data.documents import Document
from reasoning.tasks.invented import FIRST, SECOND, SYNONYMS, VALUES, Invented, question_of, tell
from reasoning.tasks.retrieval import Retrieved
from reasoning.tasks.splits import split_of
from reasoning.tasks.worked_corpus import all_learnt

_Fact = tuple[str, str, str]  # first syllable, second, and what is told


@dataclass(frozen=True, kw_only=True)
class ReadingCorpus:
    """A writer of pretraining documents, one for each number; call it with a seed, a number and a chat format.

    The first four shares are the kinds', of which only the ratios count. No document asks a question of the test split.
    """

    asked: Retrieved  # how passages are put before a question
    facts: Invented = Invented()  # its share of renamed passages
    direct: NonNegative = 0.45  # …Ba-ko.color?red
    tagged: NonNegative = 0.30  # …Ba-ko.color?<answer>red</answer>
    cited: NonNegative = 0.15  # …Ba-ko.color?<answer>red[2]</answer>
    bare: NonNegative = 0.10  # Ba-ko.color?<answer>red</answer>, an answer at random
    # Of the documents with passages, the share that give the answer, and the number, of any passage.
    random_answer: Fraction = 0.20
    chat: Fraction = 0.30  # the share of documents that are written as a user's question and an assistant's reply
    passages: Few = 4

    def __post_init__(self) -> None:
        if sum(self._shares().values()) <= 0:
            raise InputError("ReadingCorpus has no kind of document with a share above zero; give at least one")

    @property
    def symbols(self) -> tuple[str, ...]:
        """What the tokenizer has to hold as single tokens, beside the chat format's own symbols."""
        return (*self.facts.symbols, *(f"[{number}]" for number in range(1, self.passages + 1)))

    def __call__(self, seed: int, index: int, chat: ChatFormat) -> Document:
        """Document ``index`` of the corpus ``seed``; it depends on nothing else. Every token of it is learnt."""
        generator = random.Random(f"reading corpus/{seed}/{index}")
        shares = self._shares()
        (kind,) = generator.choices(tuple(shares), tuple(shares.values()))
        facts = self._passages(generator)
        question = question_of("".join(facts[0][:2]), facts[0][2])
        shown = list(facts) if kind != "bare" else []
        generator.shuffle(shown)
        values = [generator.choice(VALUES[asked]) for _, _, asked in shown or facts[:1]]
        told = shown.index(facts[0]) if shown else 0
        if generator.random() < self.random_answer:
            told = int(generator.random() * len(values))
        prompt = self.asked.put([self._tell(*each, generator) for each in zip(shown, values, strict=False)], question)
        reply = values[told] + (f"[{told + 1}]" if kind == "cited" else "")
        if kind != "direct":
            reply = f"{chat.answer_open}{reply}{chat.answer_close}"
        prompt = prompt if shown else question
        return all_learnt(prompt, reply, chat, as_chat=generator.random() < self.chat)

    def _shares(self) -> dict[str, float]:
        return {"direct": self.direct, "tagged": self.tagged, "cited": self.cited, "bare": self.bare}

    def _tell(self, fact: _Fact, value: str, generator: random.Random) -> str:
        first, second, asked = fact
        renamed = generator.random() < self.facts.renamed
        return tell(first + second, SYNONYMS[asked] if renamed else asked, value)

    def _passages(self, generator: random.Random) -> tuple[_Fact, ...]:
        """The fact that is asked for, and others of the kinds that a search finds beside it."""
        gold = self._fact(generator)
        while split_of(question_of(gold[0] + gold[1], gold[2])) != "train":
            gold = self._fact(generator)
        facts = {gold: None}
        while len(facts) < self.passages:
            drawn = self._fact(generator)
            near = generator.random()
            if near < 0.4:  # of the same name
                drawn = (gold[0], gold[1], drawn[2])
            elif near < 0.6:
                drawn = (gold[0], drawn[1], gold[2])
            elif near < 0.8:
                drawn = (drawn[0], gold[1], gold[2])
            facts[drawn] = None
        return tuple(facts)

    def _fact(self, generator: random.Random) -> _Fact:
        return generator.choice(FIRST), generator.choice(SECOND), generator.choice(tuple(VALUES))
