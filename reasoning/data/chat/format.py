"""How a conversation is written as text, and which of it a model learns to write."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reasoning.core.errors import InputError
from reasoning.core.signatures import function_words
from reasoning.data.chat.texts import ChatTexts, Turn
from reasoning.data.chat.tools import Schemas
from reasoning.data.chat.turns import SystemTurn
from reasoning.data.documents import Document, Piece, merged

_ROLES = ("system", "user", "assistant")
"""What messages may be from; tools' calls and answers come as turns (``data.messages``)."""

Message = Mapping[str, str]
"""One turn, ``{'role': 'user', 'content': '1+1?'}``."""


@dataclass(frozen=True)
class ChatFormat(ChatTexts):
    """The texts of a family, and the three functions by which families differ beside them.

    ``turns`` says where the system's text stands and which order of turns is refused (``data.chat.turns``);
    ``thinking`` says what becomes of the thinking in replies (``data.chat.thinking``; None: it stays as it is);
    ``tools`` says how calls and answers of tools are written (``data.chat.tools``; None: they are refused). A function
    of your own takes the same arguments. The formats of pretrained families are in ``data.chat.formats``.
    """

    turns: Callable[[ChatTexts, Sequence[Turn]], tuple[str, Sequence[Turn]]] = SystemTurn()
    thinking: Callable[[ChatTexts, Sequence[Turn]], Sequence[Turn]] | None = None
    tools: Callable[[ChatTexts, Sequence[Turn], Schemas], tuple[ChatTexts, Sequence[Turn]]] | None = None

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
        return self.conversation_of(_turns(messages))

    def conversation_of(self, turns: Sequence[Turn], schemas: Schemas = ()) -> str:
        """The same of turns, among them those of tools; arguments and errors as ``document_of``.

        A model goes on without ``opening`` behind what a tool answers, where the family has ``resume``.
        """
        behind_tool = bool(turns) and turns[-1].role == "tool"
        return "".join(piece.text for piece in self._pieces(turns, schemas)) + self._assistant(behind_tool)

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
        return self.document_of(_turns(messages))

    def document_of(self, turns: Sequence[Turn], schemas: Schemas = ()) -> Document:
        """A conversation in turns, among them those of tools, ``schemas`` being the tools on offer; ``learn`` counts.

        Raises InputError as ``document``, and for tools where the family's template has no way to write them.
        """
        if not any(turn.role == "assistant" for turn in turns):
            raise InputError(f"a conversation of {len(turns)} messages has no assistant's turn, so nothing to learn")
        if not any(turn.learn for turn in turns):
            raise InputError(
                f"none of the assistant's turns in a conversation of {len(turns)} messages is to be learnt"
            )
        return Document(merged(self._pieces(turns, schemas)))

    def _with_tools(self, turns: Sequence[Turn], schemas: Schemas) -> tuple[ChatTexts, Sequence[Turn]]:
        """The texts and turns to go on with; those of a conversation without tools are as they were."""
        if not schemas and not any(turn.calls or turn.role == "tool" for turn in turns):
            return self, turns
        if self.tools is None:
            raise InputError(
                "this chat format writes no tools, neither calls nor answers nor what is on offer, as its family's "
                "template doesn't; take such conversations out, or name another format"
            )
        given = self.tools(self, turns, schemas)
        if not isinstance(given, tuple) or len(given) != 2 or not isinstance(given[0], ChatTexts):
            raise InputError(
                f"{function_words(self.tools)} of a chat format gave {given!r:.60}; tools must return the texts "
                "(reasoning.data.chat.texts.ChatTexts) and the turns"
            )
        return given[0], _checked_turns(self.tools, ("", given[1]))[1]

    def _pieces(self, given: Sequence[Turn], schemas: Schemas) -> list[Piece]:
        """The conversation in pieces as they come, a turn in several."""
        texts, said = self._with_tools(given, schemas)
        before, turns = _checked_turns(self.turns, self.turns(texts, said))
        if self.thinking is not None:
            _, turns = _checked_turns(self.thinking, ("", self.thinking(self, turns)))
        pieces = [Piece(self.start + before, learn=False)]
        for number, turn in enumerate(turns):
            if turn.role == "assistant":
                behind_tool = number > 0 and turns[number - 1].role == "tool"
                pieces += self._reply(turn, self._assistant(behind_tool), last=number == len(turns) - 1)
            elif turn.role == "tool":
                close = self.close if self.tool_close is None else self.tool_close
                pieces.append(Piece(self.tool + turn.content + close, learn=False))
            else:
                opener = self.user if turn.role == "user" else self.system
                pieces.append(Piece(opener + turn.content + self.close, learn=False))
        return pieces

    def _assistant(self, behind_tool: bool) -> str:
        """What opens a reply."""
        return self.resume if behind_tool and self.resume is not None else self.assistant

    def _reply(self, turn: Turn, opener: str, last: bool) -> list[Piece]:
        given = self.opening if turn.content.startswith(self.opening) else ""
        return [
            Piece(opener + given, learn=False),
            Piece(turn.content.removeprefix(given) + self.end, turn.learn, turn.weight),
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


def _turns(messages: Sequence[Message]) -> list[Turn]:
    return [_turn(message, number) for number, message in enumerate(messages)]


def _turn(message: Message, number: int) -> Turn:
    role, content = message.get("role"), message.get("content")
    if role not in _ROLES or not isinstance(content, str):
        raise InputError(
            f"message {number} has role {role!r} and content of type {type(content).__name__}; "
            f"give a role of {', '.join(_ROLES)} and a text"
        )
    return Turn(role, content, learn=role == "assistant")
