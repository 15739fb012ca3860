"""Which program a reply holds: its answer's last fenced block, the whole answer, or what continues a beginning."""

import re

from reasoning.data.chat.format import ChatFormat

_NAMES = {"python": ("python", "py", "python3", ""), "cpp": ("cpp", "c++", "cc", "cxx", "")}
"""What may stand behind the fence of a block in each language."""

_FENCE = re.compile(r"^[ \t]*```([^\n`]*)$", re.MULTILINE)

_STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""Where a continued function is over; Evaluating Large Language Models Trained on Code (arXiv 2107.03374)."""


def program_of(completion: str, language: str, chat: ChatFormat) -> str | None:
    """The program that a reply gives, or None for a malformed reply.

    Thinking is stripped; one that was opened and never closed holds no answer. Of what the last answer block holds, or
    of all that follows the thinking where the reply has no such block, the last fenced block in ``language`` counts;
    without any fence an answer block counts as a whole. In a format without tags for answers, all of the text does.
    """
    thinking, closed, text = completion.rpartition(chat.think_close)
    if not closed and chat.think_open and chat.think_open in completion:
        return None
    text = text if closed else thinking + text
    tagged = not chat.answer_open
    if chat.answer_open and chat.answer_open in text:
        text, closed, _ = text.rpartition(chat.answer_open)[2].partition(chat.answer_close)
        if not closed:
            return None
        tagged = True
    if "```" in text:
        return _last_block(text, language)
    return text.strip("\n").rstrip() or None if tagged and text.strip() else None


def continuation_of(completion: str, language: str, cut: bool) -> str | None:
    """What a reply adds to the beginning of a function, up to where the function is over.

    A fenced block, as models that were trained to chat write it, counts instead. None for one that was ``cut`` off by
    the length limit before its end.
    """
    if "```" in completion:
        return None if cut else _last_block(completion, language)
    ends = [place for stop in _STOPS if (place := completion.find(stop)) >= 0]
    return None if cut and not ends else completion[: min(ends, default=len(completion))]


def _last_block(text: str, language: str) -> str | None:
    """The last whole fenced block in the language; None where there is none, or the last fence is never closed."""
    fences = list(_FENCE.finditer(text))
    blocks, opened = [], None
    for fence in fences:
        name = fence[1].strip().lower()
        if opened is None:
            opened = (name, fence.end() + 1)
        elif not name:
            blocks.append((opened[0], text[opened[1] : fence.start()]))
            opened = None
        else:
            return None
    if opened is not None:
        return None
    own = [block for name, block in blocks if name in _NAMES.get(language, (language, ""))]
    return own[-1] if own and own[-1].strip() else None
