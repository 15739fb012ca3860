r"""Where mathematical replies put their answer: into the last ``\boxed{…}``, or between the format's answer tags."""

import re

from reasoning.data.chat.format import ChatFormat

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")


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
            if _BOX.search(after):
                return _last_box(after)
            if not ended:
                return None
            text = block if _BOX.search(block) else rf"\boxed{{{block}}}" if _closes(block) else ""
        elif not _BOX.search(text):
            return None
    return _last_box(text) if _BOX.search(text) else text.strip() or None


def _closes(text: str) -> bool:
    return _end_of_group(text + "}", 0) == len(text)


def _last_box(text: str) -> str | None:
    """What the last box holds; None where it doesn't close or holds nothing."""
    *_, last = _BOX.finditer(text)
    end = _end_of_group(text, last.end())
    return None if end is None else text[last.end() : end].strip() or None


def _end_of_group(text: str, start: int) -> int | None:
    """The place of the brace that closes a group whose content begins at ``start``; escaped braces don't count."""
    depth = 1
    for found in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, start):
        depth += (found[0] == "{") - (found[0] == "}")
        if depth == 0:
            return found.start()
    return None
