"""Between text and token ids: a problem's question becomes a prompt, a completion the text that rewards read.

Shapes: P problems, S samples a problem.
"""

from collections.abc import Sequence

import numpy as np

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.tokenizers.tokenizer import Tokenizer, end_ids, text_ends
from reasoning.generation.engine import Rollouts
from reasoning.generation.prompts import PromptStyle, prompt_text
from reasoning.tasks.problems import Problem

AS_IT_IS = PromptStyle()
_UNKNOWN_CHARACTER = "\ufffd"


def decode_replies(tokenizer: Tokenizer, rollouts: Rollouts, chat: ChatFormat, opening: str) -> list[list[str]]:
    """Completions [P][S] as text behind the ``opening`` that the prompt gave, tags kept, without the symbol at the end.

    A model may have more ids than its tokenizer; one that stands for no text reads as an unknown character, and so does
    a NUL. An end that is plain text cuts a reply where it first stands, also inside of a token or over several.
    """
    ends, texts_that_end = end_ids(tokenizer, chat), text_ends(tokenizer, chat)

    def ids(tokens: np.ndarray, length: int) -> list[int]:
        kept = tokens[:length].tolist()
        return kept[:-1] if kept and kept[-1] in ends else kept

    rows = [
        [ids(tokens, int(length)) for tokens, length in zip(group, lengths, strict=True)]
        for group, lengths in zip(rollouts.tokens, rollouts.lengths, strict=True)
    ]

    def cut(text: str) -> str:
        return text[: min([len(text), *(text.find(end) for end in texts_that_end if end in text)])]

    texts = [list(map(cut, tokenizer.decode_batch(group, lenient=True))) for group in rows]
    # A model of bytes may write a NUL, which no file that is to be read again as JSON may hold.
    return [[opening + text.replace("\0", _UNKNOWN_CHARACTER) for text in group] for group in texts]


def encode_prompts(
    problems: Sequence[Problem],
    chat: ChatFormat,
    tokenizer: Tokenizer,
    room: int,
    context: int,
    style: PromptStyle = AS_IT_IS,
) -> list[list[int]]:
    """The prompts as token ids; made before any work, so that what doesn't fit shows at once and not hours later.

    Raises InputError where the tokenizer lacks a symbol or a character, where a question holds one of the symbols that
    only ``chat`` may write, and where a prompt and ``room`` new tokens exceed the model's ``context``.
    """
    tokenizer.check_symbols(chat)
    _check_questions(problems, chat, tokenizer)
    prompts = tokenizer.encode_batch([prompt_text(style, chat, problem.question) for problem in problems])
    longest = max(range(len(prompts)), key=lambda number: len(prompts[number]))
    needed = len(prompts[longest]) + room
    if needed > context:
        raise InputError(
            f"the prompt {problems[longest].question!r:.80} of {len(prompts[longest])} tokens and {room} new ones make "
            f"{needed}, more than the model's context of {context}; lower max_new_tokens, shorten the questions, or "
            "train a model with a longer context"
        )
    return prompts


def _check_questions(problems: Sequence[Problem], chat: ChatFormat, tokenizer: Tokenizer) -> None:
    """InputError for a question that would end its own turn, or begin another's."""
    symbols = [symbol for symbol in chat.structure() if tokenizer.has_symbol(symbol)]
    for problem in problems:
        held = [symbol for symbol in symbols if symbol in problem.question]
        if held:
            raise InputError(
                f"the question {problem.question!r:.80} holds {', '.join(held)}, which only the chat format may write; "
                "take it out of the question, or give the chat format other symbols"
            )
