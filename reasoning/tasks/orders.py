"""Orders in a few words and their record as JSON: an extraction that a model of any size can learn."""

import random
from dataclasses import dataclass
from functools import partial

from reasoning.core.ranges import Few, Fraction
from reasoning.data.chat.format import ChatFormat
from reasoning.data.documents import Document, Piece
from reasoning.tasks.extraction import extracted
from reasoning.tasks.problems import Problem, drawn
from reasoning.tasks.splits import Split, split_of

_NAMES = ("ann", "ben", "eva", "ian", "kim", "leo", "mia", "tom")
_THINGS = ("cups", "hats", "keys", "pens", "pots", "rugs")
_FORMS = (
    "{who} wants {count} {what}",
    "{count} {what} for {who}",
    "to {who} go {what}, {count} of them",
    "{what}: {count}, paid by {who}",
)
_PAID = "paid"
_SCHEMA = {"who": "string", "count": "integer", "what": "string", "paid": "boolean"}
_WORDS = ("wants", "for", "to", "go", "of", "them", "by", _PAID, "who", "count", "what", "true", "false")


@dataclass(frozen=True)
class Orders:
    """Orders of up to ``most`` things in one of four forms, of which some are paid; the answer is JSON without spaces.

    The question is the order alone, since the schema is always the same one.
    """

    most: Few = 99
    name: str = "orders"

    @property
    def symbols(self) -> tuple[str, ...]:
        """What the tokenizer has to hold as single tokens: words; digits and JSON's marks are characters."""
        return (*_NAMES, *_THINGS, *_WORDS, *'0123456789{}":,? ')

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        """``count`` orders of ``split`` (contract: ``tasks.problems.Task``)."""
        generator = random.Random(f"orders/{self!r}/{split}/{seed}")
        return drawn(partial(self.draw, generator), split, count, repr(self))

    def draw(self, generator: random.Random) -> Problem:
        """An order of any split."""
        form, who, what = (options[int(generator.random() * len(options))] for options in (_FORMS, _NAMES, _THINGS))
        order = {"who": who, "count": 1 + int(generator.random() * self.most), "what": what}
        text = form.format(**order)
        return extracted(text, order | {"paid": _PAID in text.split()}, _SCHEMA, self.name, "{text}?", compact=True)


@dataclass(frozen=True)
class OrderCorpus:
    """A writer of pretraining documents that each ask for and give the record of an order of the training split.

    In ``mistaken`` of them one field is another order's, so that a base model is often nearly right.
    """

    task: Orders = Orders()
    mistaken: Fraction = 0.5

    @property
    def symbols(self) -> tuple[str, ...]:
        """What the tokenizer has to hold as single tokens, beside the chat format's own symbols."""
        return self.task.symbols

    def __call__(self, seed: int, index: int, chat: ChatFormat) -> Document:
        """Document ``index`` of the corpus ``seed``; it depends on nothing else. Every token of it is learnt."""
        generator = random.Random(f"order corpus/{seed}/{index}")
        while split_of((problem := self.task.draw(generator)).source) != "train":
            pass
        answer = problem.answer
        if generator.random() < self.mistaken:
            own, other = (each.removeprefix("{").split(",") for each in (answer, self.task.draw(generator).answer))
            place = int(generator.random() * len(own))
            answer = "{" + ",".join([*own[:place], other[place], *own[place + 1 :]])
        reply = f"{chat.answer_open}{answer}{chat.answer_close}{chat.end}"
        return Document((Piece(chat.prompt(problem.question) + reply, learn=True),))
