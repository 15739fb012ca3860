"""What prompts are padded to, so that calls whose prompts differ a little in length are one program.

Shapes: P prompts of this process, T prompt time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from reasoning.core import mesh as meshes
from reasoning.core.buckets import padded_length, rounded_length
from reasoning.core.errors import InputError
from reasoning.models.model import LanguageModel


@dataclass(frozen=True)
class PromptShapes:
    """What prompts are padded to: ``longest`` at least, a power of two beyond it, and a ``multiple`` of rows.

    ``room`` is how many tokens follow a prompt in the model's ``context``. ``longest`` is rounded up (``known``).
    """

    longest: int
    multiple: int
    context: int
    room: int

    @property
    def known(self) -> int:
        """What prompts of at most ``longest`` tokens are padded to; 0 where that isn't known."""
        return rounded_length(self.longest, self.context - self.room)


class _Limits(Protocol):
    """What samplers' and searches' settings have in common."""

    @property
    def longest_prompt(self) -> int: ...
    @property
    def max_new_tokens(self) -> int: ...


def shapes_of(settings: _Limits, model: LanguageModel, multiple: int = 1) -> PromptShapes:
    """What an engine or a search with these settings pads prompts to."""
    return PromptShapes(settings.longest_prompt, multiple, model.context, settings.max_new_tokens)


def prompt_time(prompts: Sequence[Sequence[int]], shapes: PromptShapes) -> int:
    """What all processes' prompts are padded to.

    InputError where one is empty or leaves no room in the model's context.
    """
    context, room = shapes.context, shapes.room
    longest = meshes.largest_of_all_processes(max((len(prompt) for prompt in prompts), default=0))
    if any(not prompt for prompt in prompts):
        raise InputError("a prompt is empty; every prompt needs at least one token")
    if longest + room > context:
        raise InputError(
            f"a prompt of {longest} tokens and {room} new ones exceed the model's context of {context}; shorten the "
            f"prompts, lower max_new_tokens, or raise the model's context"
        )
    known = (shapes.known,) if 0 < longest <= shapes.known else ()
    return padded_length(longest, known, context - room)


def padded(prompts: Sequence[Sequence[int]], rows: int, shapes: PromptShapes) -> tuple[np.ndarray, np.ndarray]:
    """Prompts [P, T] padded on the right, and their lengths [P]; rows that only fill up, to ``rows`` at least, have 0.

    Raises InputError as ``prompt_time`` does.
    """
    time = prompt_time(prompts, shapes)
    rows = -(-max(len(prompts), rows) // shapes.multiple) * shapes.multiple
    tokens, lengths = np.zeros((rows, time), np.int32), np.zeros((rows,), np.int32)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)], lengths[row] = prompt, len(prompt)
    return tokens, lengths
