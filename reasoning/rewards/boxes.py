r"""Where mathematical replies put their answer: into the last ``\boxed{…}``, or between the format's answer tags."""

from reasoning.data.chat.format import ChatFormat
from reasoning.tasks.boxed import closes, holds_box, last_box


def final_answer(completion: str, chat: ChatFormat) -> str | None:
    r"""What a reply's last box or answer block holds, or None where it has no answer or a malformed one.

    Thinking is no answer: only what follows it counts, and a reply whose thinking doesn't end has none. The last box
    counts alone, also within the last answer block: a box that doesn't close is malformed, and so are an empty one and
    a block that doesn't close. Without a box and in a format without tags the answer is all that follows the thinking.
    """
    _, closed, tail = completion.rpartition(chat.think_close)
    if not closed and chat.think_open in completion:
        return None
    text = tail if closed else completion
    if chat.answer_open:
        _, opened, inside = text.rpartition(chat.answer_open)
        if opened:
            block, ended, after = inside.partition(chat.answer_close)
            if holds_box(after):
                return last_box(after)
            if not ended:
                return None
            text = block if holds_box(block) else rf"\boxed{{{block}}}" if closes(block) else ""
        elif not holds_box(text):
            return None
    return last_box(text) if holds_box(text) else text.strip() or None
