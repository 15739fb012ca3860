"""What a family makes of the thinking in replies: functions that a chat format names, from turns to turns.

A reply that loses its thinking isn't learnt, so that the model doesn't learn to go without. ``template`` gives the same
as lines of jinja inside the loop over the turns, which change ``content``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reasoning.data.chat.texts import ChatTexts, Turn, quoted


@dataclass(frozen=True)
class CutEarlier:
    """Earlier replies lose what they thought; the last one keeps it, begun by ``opening`` where it lacks that."""

    def __call__(self, chat: ChatTexts, turns: Sequence[Turn]) -> Sequence[Turn]:
        def cut(turn: Turn, last: bool) -> Turn:
            if turn.role != "assistant" or chat.think_close not in turn.content:
                return turn
            if last:
                opened = turn.content.startswith(chat.think_open)
                return turn if opened else replace(turn, content=chat.opening + turn.content)
            return replace(turn, content=turn.content.rpartition(chat.think_close)[2], learn=False)

        return [cut(turn, number == len(turns) - 1) for number, turn in enumerate(turns)]

    def template(self, chat: ChatTexts) -> Sequence[str]:
        opened, closed = quoted(chat.think_open), quoted(chat.think_close)
        return (
            f"{{%- if turn['role'] == 'assistant' and {closed} in content %}}",
            f"{{%- if not loop.last %}}{{%- set content = content.split({closed})[-1] %}}",
            f"{{%- elif not content.startswith({opened}) %}}",
            f"{{%- set content = {quoted(chat.opening)} + content %}}{{%- endif %}}{{%- endif %}}",
        )


@dataclass(frozen=True)
class Framed:
    """Replies before the last question lose what they thought; the last reply always has a block of thinking.

    Those between the last question and the last reply have a block where they thought.
    """

    def __call__(self, chat: ChatTexts, turns: Sequence[Turn]) -> Sequence[Turn]:
        asked = max((number for number, turn in enumerate(turns) if turn.role == "user"), default=len(turns))

        def framed(turn: Turn, answers: bool, last: bool) -> Turn:
            if turn.role != "assistant":
                return turn
            head, closed, _ = turn.content.partition(chat.think_close)
            thought = head.rstrip("\n").rpartition(chat.think_open)[2].strip("\n") if closed else ""
            answer = turn.content.rpartition(chat.think_close)[2].lstrip("\n") if closed else turn.content
            if answers and (last or thought):
                block = f"{chat.think_open}\n{thought}\n{chat.think_close}\n\n"
                return replace(turn, content=block + answer.lstrip("\n"))
            return replace(turn, content=answer, learn=turn.learn and not thought)

        return [framed(turn, number > asked, number == len(turns) - 1) for number, turn in enumerate(turns)]

    def template(self, chat: ChatTexts) -> Sequence[str]:
        opened, closed = quoted(chat.think_open), quoted(chat.think_close)
        return (
            "{%- if turn['role'] == 'assistant' %}{%- set thought = '' %}",
            f"{{%- if {closed} in content %}}",
            f"{{%- set thought = content.split({closed})[0].rstrip('\\n').split({opened})[-1].strip('\\n') %}}",
            f"{{%- set content = content.split({closed})[-1].lstrip('\\n') %}}{{%- endif %}}",
            "{%- if asked.last >= 0 and loop.index0 > asked.last and (loop.last or thought) %}",
            f"{{%- set block = {opened} + '\\n' + thought + '\\n' + {closed} + '\\n\\n' %}}",
            "{%- set content = block + content.lstrip('\\n') %}{%- endif %}{%- endif %}",
        )
