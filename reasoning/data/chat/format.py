"""How a conversation is written as text, and which of it a model learns to write."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reasoning.core.errors import InputError
from reasoning.core.signatures import function_words
from reasoning.data.chat.texts import ChatTexts, Turn
from reasoning.data.chat.turns import SystemTurn
from reasoning.data.documents import Document, Piece

_ROLES = ("system", "user", "assistant")

Message = Mapping[str, str]
"""One turn, ``{'role': 'user', 'content': '1+1?'}``."""


@dataclass(frozen=True)
class ChatFormat(ChatTexts):
    """The texts of a family, and the two functions by which families differ beside them.

    ``turns`` says where the system's text stands and which order of turns is refused (``data.chat.turns``);
    ``thinking`` says what becomes of the thinking in replies (``data.chat.thinking``; None: it stays as it is). A
    function of your own takes the same arguments. The formats of pretrained families are in ``data.chat.formats``.
    """

    turns: Callable[[ChatTexts, Sequence[Turn]], tuple[str, Sequence[Turn]]] = SystemTurn()
    thinking: Callable[[ChatTexts, Sequence[Turn]], Sequence[Turn]] | None = None

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

        What ``opening`` writes is read only, and so is a reply that ``thinking`` says not to learn. Raises InputError
        as ``conversation``, and for one without a reply to learn.
        """
        if not any(message.get("role") == "assistant" for message in messages):
            raise InputError(f"a conversation of {len(messages)} messages has no assistant's turn, so nothing to learn")
        return Document(_merged(self._pieces(messages)))

    def _pieces(self, messages: Sequence[Message]) -> list[Piece]:
        """The conversation in pieces as they come, a turn in several."""
        said = [_turn(message, number) for number, message in enumerate(messages)]
        before, turns = _checked_turns(self.turns, self.turns(self, said))
        if self.thinking is not None:
            _, turns = _checked_turns(self.thinking, ("", self.thinking(self, turns)))
        pieces = [Piece(self.start + before, learn=False)]
        for number, turn in enumerate(turns):
            if turn.role == "assistant":
                pieces += self._reply(turn, last=number == len(turns) - 1)
            else:
                opener = self.user if turn.role == "user" else self.system
                pieces.append(Piece(opener + turn.content + self.close, learn=False))
        return pieces

    def _reply(self, turn: Turn, last: bool) -> list[Piece]:
        given = self.opening if turn.content.startswith(self.opening) else ""
        return [
            Piece(self.assistant + given, learn=False),
            Piece(turn.content.removeprefix(given) + self.end, learn=turn.learn),
            Piece(self.after + ("" if last else self.between), learn=False),
        ]


def _checked_turns(function: Callable, given: Any) -> tuple[str, Sequence[Turn]]:
    """What ``turns``, or with an empty text ``thinking``, gave. Raises InputError where it is something else."""
    if isinstance(given, tuple) and len(given) == 2:
        before, turns = given
        if isinstance(before, str) and isinstance(turns, Sequence) and all(isinstance(each, Turn) for each in turns):
            return before, turns
    raise InputError(
        f"{function_words(function)} of a chat format gave {given!r:.60}; turns must return a text and the turns after "
        "it, and thinking the turns (reasoning.data.chat.texts.Turn)"
    )


def _turn(message: Message, number: int) -> Turn:
    role, content = message.get("role"), message.get("content")
    if role not in _ROLES or not isinstance(content, str):
        raise InputError(
            f"message {number} has role {role!r} and content of type {type(content).__name__}; "
            f"give a role of {', '.join(_ROLES)} and a text"
        )
    return Turn(role, content, learn=role == "assistant")


def _merged(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """Neighbours that are only read become one piece, so that they are tokenised as the prompt would be."""
    merged: list[Piece] = []
    for piece in pieces:
        if merged and not piece.learn and not merged[-1].learn:
            merged[-1] = Piece(merged[-1].text + piece.text, learn=False)
        elif piece.text:
            merged.append(piece)
    return tuple(merged)
