"""Conversations about passages to pretrain on: replies are mostly right, and few name the passage they are from.

Every fact is drawn anew, so that nothing can be learnt from them but reading.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from reasoning.core.ranges import Few, Fraction
from reasoning.data.chat.format import ChatFormat
from reasoning.data.documents import Document
from reasoning.tasks.invented import NAMES, SYNONYMS, VALUES, Invented, question_of, tell
from reasoning.tasks.retrieval import Retrieved
from reasoning.tasks.splits import split_of

_Asked = tuple[str, str]  # a name, and what of it
_Told = tuple[str, str, str]  # the same with its value


@dataclass(frozen=True, kw_only=True)
class ReadingCorpus:
    """A writer of pretraining documents, one for each number; call it with a seed, a number and a chat format.

    No document asks a question of the test split.
    """

    asked: Retrieved  # how passages are put before a question
    facts: Invented = Invented()  # its share of renamed passages
    cited: Fraction = 0.30  # the share of replies with the passage's number: red[2]
    random_answer: Fraction = 0.10  # the share of replies that give the answer, and the number, of any passage
    bare: Fraction = 0.05  # the share of documents without passages, whose answers are drawn at random
    passages: Few = 4  # at most, in a document; one alone teaches to copy, several to choose
    questions: Few = 4  # at most, in a document

    @property
    def symbols(self) -> tuple[str, ...]:
        """What the tokenizer has to hold as single tokens, beside the chat format's own symbols."""
        return (*self.facts.symbols, *(f"[{number}]" for number in range(1, self.passages + 1)))

    def __call__(self, seed: int, index: int, chat: ChatFormat) -> Document:
        """Document ``index`` of the corpus ``seed``; it depends on nothing else. Only replies are learnt."""
        generator = random.Random(f"reading corpus/{seed}/{index}")
        told = [(*fact, generator.choice(VALUES[fact[1]])) for fact in self._alike(generator)]
        generator.shuffle(told)
        trainable = [fact for fact in told if split_of(question_of(*fact[:2])) == "train"]
        asked = generator.sample(trainable, min(len(trainable), self.questions))
        shown = [self._written(fact, generator) for fact in told]
        if generator.random() < self.bare:
            asked, shown = asked[:1], []
        messages = []
        for number, fact in enumerate(asked):
            question = question_of(*fact[:2])
            put = self.asked.put(shown, question) if shown and number == 0 else question
            messages.append({"role": "user", "content": put})
            messages.append({"role": "assistant", "content": self._reply(fact, told if shown else [], generator)})
        return chat.document(messages)

    def _written(self, fact: _Told, generator: random.Random) -> str:
        subject, asked, value = fact
        renamed = generator.random() < self.facts.renamed
        return tell(subject, SYNONYMS[asked] if renamed else asked, value)

    def _reply(self, fact: _Told, shown: Sequence[_Told], generator: random.Random) -> str:
        if not shown:
            return generator.choice(VALUES[fact[1]])
        if generator.random() < self.random_answer:
            fact = generator.choice(shown)
        return fact[2] + (f"[{shown.index(fact) + 1}]" if generator.random() < self.cited else "")

    def _alike(self, generator: random.Random) -> tuple[_Asked, ...]:
        """Facts, the first of the train split, the others of the same name, the same word, or neither."""
        name, asked = self._drawn(generator)
        while split_of(question_of(name, asked)) != "train":
            name, asked = self._drawn(generator)
        facts: dict[_Asked, None] = {(name, asked): None}
        number = 1 + int(generator.random() * self.passages)
        while len(facts) < number:
            other, what = self._drawn(generator)
            near = generator.random()
            fact = (name, what) if near < 0.4 else (other, asked) if near < 0.8 else (other, what)
            facts[fact] = None
        return tuple(facts)

    def _drawn(self, generator: random.Random) -> _Asked:
        return generator.choice(NAMES), generator.choice(tuple(VALUES))
