"""Ways to put one question: with a request to think behind it, or with the beginning of the reply given."""

from dataclasses import dataclass

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat


@dataclass(frozen=True)
class PromptStyle:
    """How a question is put; the default puts it as it is.

    ``instruction`` follows the question as written, so it begins with a space where one is wanted (" Think step by
    step.", arXiv 2205.11916). ``opening`` is text with which the assistant's reply begins, in place of what the chat
    format begins it with: the tag that opens thinking makes a model think, the tag that opens an answer makes it answer
    at once. A reply that is scored includes the opening; its length and log-probabilities are of what the model wrote.
    Raises InputError for an empty name.
    """

    name: str = "plain"
    instruction: str = ""
    opening: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            raise InputError("a prompt style has no name; give it one, tables show it")


def prompt_text(style: PromptStyle, chat: ChatFormat, question: str) -> str:
    """The whole text that the model reads before it writes."""
    return chat.ask(question + style.instruction) + reply_opening(style, chat)


def reply_opening(style: PromptStyle, chat: ChatFormat) -> str:
    """What the model finds written of its reply, and what a reply that is scored begins with."""
    return style.opening or chat.opening


def thinking(chat: ChatFormat) -> PromptStyle:
    """The style that makes a model think before it answers."""
    opened = chat.opening.startswith(chat.think_open) and chat.think_close not in chat.opening
    return PromptStyle("think", opening=chat.opening if opened else chat.think_open)


def direct(chat: ChatFormat) -> PromptStyle:
    """The style that makes a model answer at once; without tags for answers, behind an empty block of thinking."""
    return PromptStyle("direct", opening=chat.answer_open or f"{chat.think_open}\n\n{chat.think_close}\n\n")
