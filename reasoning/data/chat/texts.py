"""What a chat format is made of: the texts around its parts, and the turns that they stand around."""

import json
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class ToolCall:
    """A tool that the assistant calls; ``arguments`` is the text of a JSON object, ``id`` what its answer names."""

    name: str
    arguments: str
    id: str = ""


@dataclass(frozen=True)
class Turn:
    """What one of ``system``, ``user``, ``assistant`` and ``tool`` says; ``learn``: a model is to learn to write it.

    ``calls`` are the tools that an assistant calls after what it says; a chat format's ``tools`` makes text of them.
    What is learnt weighs ``weight`` of what other turns do. ``call_id`` says which call a tool answers.
    """

    role: str
    content: str
    learn: bool
    calls: tuple[ToolCall, ...] = ()
    weight: float = 1.0
    call_id: str = ""


@dataclass(frozen=True)
class ChatTexts:
    """The texts that open and close the parts of a conversation; the default is for models that are trained from zero.

    A plain document is ``begin text end``; a conversation is ``user question assistant reply end …``. Replies that
    reason are ``think_open … think_close answer_open … answer_close`` (DeepSeek-R1, arXiv 2501.12948, table 1); a
    family without tags for answers has empty ones, and answers with what follows its thinking.
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
    after: str = ""  # follows the end of the assistant's turn
    between: str = ""  # follows that where another turn comes
    opening: str = ""  # what the prompt already writes of the reply
    text_end: str = ""  # ends a plain document; empty: as the assistant's turn
    other_ends: tuple[str, ...] = ()  # symbols that end a reply too
    marks: tuple[str, ...] = ()  # the symbols that must be single ids; empty: all nine above
    preface: str = ""  # begins what the system says; {date} in it is the date …
    date: str = ""  # … written as the family's template does
    tool: str = ""  # opens what a tool answers
    tool_close: str | None = None  # follows it; None: close
    resume: str | None = None  # opens the assistant's turn behind it; None: assistant, and a prompt adds opening
    default_system: str | None = None  # what the system says where the conversation has no message of it; None: nothing

    def structure(self) -> tuple[str, ...]:
        """The symbols that say where a text, a turn and a reply begin and end; no content may hold them."""
        return self._structure

    @cached_property
    def _structure(self) -> tuple[str, ...]:  # asked for every message of a corpus
        turns = (self.begin, self.system, self.user, self.assistant, self.end, self.tool)
        return tuple(dict.fromkeys(filter(None, (text.strip() for text in (*turns, *self.other_ends, *self.marks)))))

    def tags(self) -> tuple[str, ...]:
        """The tags of a reply that reasons: two of thinking, two of the answer; these may be empty."""
        return (self.think_open, self.think_close, self.answer_open, self.answer_close)

    def symbols(self) -> tuple[str, ...]:
        """Every special symbol, in a fixed order."""
        return (*self.structure(), *filter(None, self.tags()))

    def counts(self) -> tuple[tuple[str, int], ...]:
        """How often each special symbol stands in a reply that reasons: tags once, all others never."""
        return self._counts

    @cached_property
    def _counts(self) -> tuple[tuple[str, int], ...]:  # asked for every reply
        return tuple((symbol, int(symbol in self.tags())) for symbol in self.symbols() if symbol)

    def single_ids(self) -> tuple[str, ...]:
        """The symbols that a tokenizer must hold as one id each."""
        return self.marks or self.symbols()


def quoted(text: str) -> str:
    """A text as jinja's literal, whose escapes are a superset of JSON's."""
    return json.dumps(text, ensure_ascii=False)
