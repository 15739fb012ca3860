"""Lengths that arrays are padded to, so that ragged data doesn't make each length a program of its own to compile."""

from collections.abc import Sequence

_SHORTEST = 16


def powers_of_two(limit: int) -> tuple[int, ...]:
    """What ``padded_length`` pads to without ``lengths``: the powers of two from 16 on that are less than ``limit``."""
    return tuple(1 << power for power in range(_SHORTEST.bit_length() - 1, (limit - 1).bit_length()))


def padded_length(longest: int, lengths: Sequence[int], limit: int) -> int:
    """How long an array is made that must hold ``longest``: the least that suffices of ``lengths``, or ``limit``.

    Without ``lengths`` these are the powers of two from 16 on, so that n times the length is log2(n) programs more, and
    the padding is less than half. ``limit`` is what an array can hold at most; ``longest`` must not exceed it.
    """
    return min([*(length for length in lengths or powers_of_two(limit) if length >= longest), limit])


def rounded_length(longest: int, limit: int) -> int:
    """``longest`` rounded up to a multiple of 16, or to ``limit`` where that is less; never below ``longest``.

    Sets of texts whose longest differ by a few tokens then share what is compiled for them.
    """
    return min(-(-longest // _SHORTEST) * _SHORTEST, max(limit, longest))
