"""Looking at completions while they are written: to show them as they grow, and to end those that have said enough.

Shapes: C completions, B slots.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from reasoning.core import mesh as meshes
from reasoning.core.errors import InputError
from reasoning.core.ranges import Count
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.generation.state import Slots

GO_ON = -1
"""What a look says of a completion that isn't to end."""


@dataclass(frozen=True)
class Writing:
    """Some of this process's completions [C]: prompts' places among those asked, numbers in their groups, tokens."""

    prompts: np.ndarray
    samples: np.ndarray
    tokens: Sequence[Sequence[int]]


Look = Callable[[Writing], Sequence[int]]
"""From completions to how many of each one's tokens are kept, as its end; ``GO_ON`` where it isn't to end yet."""


def _nothing_more(writing: Writing) -> None:
    """What is done with completions as they end, where nothing is."""


@dataclass(frozen=True)
class Watch:
    """Calls ``look`` after every so many tokens, and once with each completion that has ended by itself meanwhile.

    A completion that a look ends is not cut off (``truncated``): it said what was waited for. One that ended by itself
    may still be shortened. ``over`` is told of completions as they end, whole, before they are shortened. On several
    processes each looks at its own.
    """

    look: Look
    every: Count = 16
    over: Callable[[Writing], None] = _nothing_more


def kept_by(watch: Watch, writing: Writing) -> np.ndarray:
    """How many tokens are kept of each completion [C]. Raises InputError where ``look`` says something else."""
    lengths = [len(tokens) for tokens in writing.tokens]
    kept = np.asarray(list(watch.look(writing)), np.int64)
    if kept.shape != (len(lengths),) or not ((kept >= GO_ON) & (kept <= lengths)).all():
        raise InputError(
            f"a look at {len(lengths)} completions gave {kept.tolist()!r:.60}; it must give one number of tokens a "
            f"completion, none beyond its length, or {GO_ON} to let it go on"
        )
    return kept.astype(np.int32)


def looked(watch: Watch, slots: Slots, samples: int) -> np.ndarray:
    """What a watch says of this process's slots [B]; ``GO_ON`` of those that are free."""
    request, count, tokens = (meshes.local_rows(leaf) for leaf in (slots.request, slots.count, slots.tokens))
    [busy] = np.nonzero(request >= 0)
    texts = [tokens[slot, : count[slot]].tolist() for slot in busy]
    kept = np.full(request.shape, GO_ON, np.int32)
    kept[busy] = kept_by(watch, Writing(*np.divmod(request[busy], samples), texts))
    return kept


def ended(slots: Slots, kept_B: jax.Array) -> Slots:
    """The slots, where a look has ended some, as if their last kept token had been an end."""
    ends_B = kept_B >= 0
    return replace(
        slots,
        count=jnp.where(ends_B, kept_B, slots.count),
        done=slots.done | ends_B,
        ended=slots.ended | ends_B,
    )


def stop_strings(tokenizer: Tokenizer, strings: Sequence[str]) -> Look:
    """Ends a completion with the token in which the first of ``strings`` is whole.

    Raises InputError for an empty string, which every completion holds.
    """
    if not all(strings):
        raise InputError("a stop string is empty, so nothing would be said; drop it")

    def stop(tokens: Sequence[int]) -> int:
        ids = list(tokens)

        def holds(count: int) -> bool:
            text = tokenizer.decode(ids[:count])
            return any(string in text for string in strings)

        if not holds(len(ids)):
            return GO_ON
        # More tokens never take a string away that stood there, so the first length that has one is found by halving.
        low, high = 0, len(ids)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(middle) else (middle, high)
        return high

    return lambda writing: [stop(tokens) for tokens in writing.tokens]
