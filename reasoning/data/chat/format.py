"""How a conversation is written as text, and which of it a model learns to write; families differ by fields."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from reasoning.core.errors import InputError
from reasoning.data.documents import Document, Piece

ROLES = ("system", "user", "assistant")

Message = Mapping[str, str]
"""One turn, ``{'role': 'user', 'content': '1+1?'}``."""


@dataclass(frozen=True)
class ChatFormat:
    """The texts that open and close the parts of a conversation; the default is for models that are trained from zero.

    A plain document is ``begin text end``; a conversation is ``user question assistant reply end …``. Replies that
    reason are ``think_open … think_close answer_open … answer_close`` (DeepSeek-R1, arXiv 2501.12948, table 1); a
    family without tags for answers has empty ones, and answers with what follows its thinking. The formats of
    pretrained families are in ``data.chat.formats``.
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

    # What pretrained families have beside that.
    start: str = ""  # opens every conversation
    close: str = ""  # follows what the system and the user say
    after: str = ""  # follows the end of the assistant's turn …
    after_last: bool = True  # … also where no other turn comes
    opening: str = ""  # what the prompt already writes of the reply
    text_end: str = ""  # ends a plain document; empty: as the assistant's turn
    other_ends: tuple[str, ...] = ()  # symbols that end a reply too
    marks: tuple[str, ...] = ()  # the symbols that must be single ids; empty: all nine above
    preface: str = ""  # begins what the system says; {date} in it is the date …
    date: str = ""  # … written as the family's template does
    default_system: str | None = None  # what the system says where the conversation has no message of it; None: nothing
    system_place: Literal["turn", "start", "first question", "last question"] = "turn"
    trim: bool = False  # no white space around what is said
    alternate: bool = False  # user and assistant must take turns
    thinking: Literal["kept", "cut", "framed"] = "kept"  # of earlier turns; framed: the last reply always has its block

    def structure(self) -> tuple[str, ...]:
        """The symbols that say where a text, a turn and a reply begin and end; no content may hold them."""
        turns = (self.begin, self.system, self.user, self.assistant, self.end)
        return tuple(dict.fromkeys(filter(None, (text.strip() for text in (*turns, *self.other_ends, *self.marks)))))

    def tags(self) -> tuple[str, ...]:
        """The tags of a reply that reasons: two of thinking, two of the answer; these may be empty."""
        return (self.think_open, self.think_close, self.answer_open, self.answer_close)

    def symbols(self) -> tuple[str, ...]:
        """Every special symbol, in a fixed order."""
        return (*self.structure(), *filter(None, self.tags()))

    def single_ids(self) -> tuple[str, ...]:
        """The symbols that a tokenizer must hold as one id each."""
        return self.marks or self.symbols()

    def prompt(self, question: str) -> str:
        """The text that asks ``question`` and leaves the reply to the model, from where ``opening`` ends."""
        return self.ask(question) + self.opening

    def ask(self, question: str) -> str:
        """The text that asks ``question`` and leaves all of the reply open."""
        return self.conversation([{"role": "user", "content": question}])

    def conversation(self, messages: Sequence[Message]) -> str:
        """The text of a conversation that leaves all of the next reply open; ``opening`` is what a model reads next.

        Raises InputError for an unknown role, a message without text, and roles in an order that the family refuses.
        """
        return "".join(piece.text for piece in self._pieces(messages)) + self.assistant

    def plain(self, text: str) -> Document:
        """A document of running text, all of it learnt."""
        return Document((Piece(f"{self.begin}{text}{self.text_end or self.end}", learn=True),))

    def exchange(self, question: str, reply: str) -> Document:
        """A question that is only read and a reply that is learnt."""
        return self.document([{"role": "user", "content": question}, {"role": "assistant", "content": reply}])

    def document(self, messages: Sequence[Message]) -> Document:
        """A conversation in the ``[{'role': …, 'content': …}]`` form; only the assistant's turns are learnt.

        What ``opening`` writes is read, and so is an earlier reply that lost its thinking, since the model shall not
        learn to go without. Raises InputError as ``conversation``, and for one without a reply to learn.
        """
        if not any(message.get("role") == "assistant" for message in messages):
            raise InputError(f"a conversation of {len(messages)} messages has no assistant's turn, so nothing to learn")
        return Document(_joined(self._pieces(messages)))

    def _pieces(self, messages: Sequence[Message]) -> list[Piece]:
        """The conversation in pieces as they come, a turn in several."""
        for number, message in enumerate(messages):
            _check(message, number)
        system, turns = self._system(messages)
        if self.alternate and any((turn["role"] == "user") != (n % 2 == 0) for n, turn in enumerate(turns)):
            raise InputError("user and assistant must take turns in this chat format, beginning with the user")
        asked = [number for number, turn in enumerate(turns) if turn["role"] == "user"]
        pieces = [Piece(self.start + system, learn=False)]
        for number, turn in enumerate(turns):
            content = turn["content"].strip() if self.trim else turn["content"]
            if turn["role"] == "assistant":
                last = number == len(turns) - 1
                answers = bool(asked) and number > asked[-1]
                pieces += self._reply(content, answers, last)
                continue
            if number in asked and self.system_place.endswith("question"):
                place = asked[0] if self.system_place == "first question" else asked[-1]
                content = self._said(messages) + content if number == place else content
            opener = self.user if turn["role"] == "user" else self.system
            pieces.append(Piece(opener + content + self.close, learn=False))
        return pieces

    def _system(self, messages: Sequence[Message]) -> tuple[str, Sequence[Message]]:
        """What stands before the first turn, and the turns."""
        others = [message for message in messages if message["role"] != "system"]
        if self.system_place == "start":
            return "\n\n".join(message["content"] for message in messages if message["role"] == "system"), others
        first = messages[0] if messages and messages[0]["role"] == "system" else None
        turns = messages[1:] if first else messages
        if self.system_place != "turn":
            return "", turns
        said = self.default_system if first is None else first["content"]
        if said is None:
            return "", turns
        preface = self.preface.replace("{date}", self.date)
        return self.system + preface + (said.strip() if self.trim else said) + self.close, turns

    def _said(self, messages: Sequence[Message]) -> str:
        """What a question begins with where the system has no turn of its own."""
        return messages[0]["content"] + "\n\n" if messages[0]["role"] == "system" else ""

    def _reply(self, content: str, answers: bool, last: bool) -> list[Piece]:
        """The assistant's turn; ``answers``: it comes after the last question."""
        written, cut = self._thought(content, answers, last)
        given = self.opening if self.opening and written.startswith(self.opening) else ""
        return [
            Piece(self.assistant + given, learn=False),
            Piece(written.removeprefix(given) + self.end, learn=not cut),
            Piece("" if last and not self.after_last else self.after, learn=False),
        ]

    def _thought(self, content: str, answers: bool, last: bool) -> tuple[str, bool]:
        """A reply as the conversation holds it, and whether thinking was cut from it."""
        held = self.think_close in content
        head, tail = content.partition(self.think_close)[0], content.rpartition(self.think_close)[2]
        if self.thinking == "cut" and last and held and not content.startswith(self.think_open):
            return self.opening + content, False
        if self.thinking == "kept" or (self.thinking == "cut" and (last or not held)):
            return content, False
        if self.thinking == "cut":
            return tail, True
        thought = head.rstrip("\n").rpartition(self.think_open)[2].strip("\n") if held else ""
        answer = tail.lstrip("\n") if held else content
        if answers and (last or thought):
            block = f"{self.think_open}\n{thought}\n{self.think_close}\n\n"
            return block + answer.lstrip("\n"), False
        return answer, bool(thought)


def _check(message: Message, number: int) -> None:
    role, content = message.get("role"), message.get("content")
    if role not in ROLES or not isinstance(content, str):
        raise InputError(
            f"message {number} has role {role!r} and content of type {type(content).__name__}; "
            f"give a role of {', '.join(ROLES)} and a text"
        )


def _joined(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """Neighbours that are only read become one piece, so that they are tokenised as the prompt would be."""
    joined: list[Piece] = []
    for piece in pieces:
        if joined and not piece.learn and not joined[-1].learn:
            joined[-1] = Piece(joined[-1].text + piece.text, learn=False)
        elif piece.text:
            joined.append(piece)
    return tuple(joined)
