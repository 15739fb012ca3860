"""How a conversation is written as text; the special symbols here are the single ids of the tokenizer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reasoning.core.errors import InputError
from reasoning.data.documents import Document, Piece


@dataclass(frozen=True)
class ChatFormat:
    """The symbols that open and close the parts of a conversation, one token each.

    A plain document is ``begin text end``; a conversation is ``user question assistant reply end …``. Replies that
    reason are ``think_open … think_close answer_open … answer_close`` (DeepSeek-R1, arXiv 2501.12948, table 1).
    """

    begin: str = "<|begin|>"
    system: str = "<|system|>"
    user: str = "<|user|>"
    assistant: str = "<|assistant|>"
    end: str = "<|end|>"
    think_open: str = "<think>"
    think_close: str = "</think>"
    answer_open: str = "<answer>"
    answer_close: str = "</answer>"

    def symbols(self) -> tuple[str, ...]:
        """Every special symbol, in a fixed order; a tokenizer must hold each as one id."""
        return (*self.structure(), *self.tags())

    def structure(self) -> tuple[str, ...]:
        """The symbols that say where a text, a turn and a reply begin and end; no content may hold them."""
        return (self.begin, self.system, self.user, self.assistant, self.end)

    def tags(self) -> tuple[str, ...]:
        """The four tags of a reply that reasons."""
        return (self.think_open, self.think_close, self.answer_open, self.answer_close)

    def prompt(self, question: str) -> str:
        """The text that asks ``question`` and leaves the reply to the model."""
        return f"{self.user}{question}{self.assistant}"

    def plain(self, text: str) -> Document:
        """A document of running text, all of it learnt."""
        return Document((Piece(f"{self.begin}{text}{self.end}", learn=True),))

    def exchange(self, question: str, reply: str) -> Document:
        """A question that is only read and a reply that is learnt."""
        return Document((Piece(self.prompt(question), learn=False), Piece(f"{reply}{self.end}", learn=True)))

    def document(self, messages: Sequence[Mapping[str, str]]) -> Document:
        """A conversation in the ``[{'role': …, 'content': …}]`` form; only the assistant's turns are learnt.

        Raises InputError for an unknown role, a message without text, or a conversation without a reply to learn.
        """
        if not any(message.get("role") == "assistant" for message in messages):
            raise InputError(f"a conversation of {len(messages)} messages has no assistant's turn, so nothing to learn")
        pieces: list[Piece] = []
        openers = {"system": self.system, "user": self.user, "assistant": self.assistant}
        for number, message in enumerate(messages):
            role, content = message.get("role"), message.get("content")
            if role not in openers or not isinstance(content, str):
                raise InputError(
                    f"message {number} has role {role!r} and content of type {type(content).__name__}; "
                    f"give a role of {', '.join(openers)} and a text"
                )
            pieces.append(Piece(openers[role], learn=False))
            if role == "assistant":
                pieces.append(Piece(content + self.end, learn=True))
            else:
                pieces.append(Piece(content, learn=False))
        return Document(tuple(pieces))
