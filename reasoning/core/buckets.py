"""Lengths that arrays are padded to, so that ragged data doesn't make each length a program of its own to compile."""

from collections.abc import Sequence

_SHORTEST = 16


def padded_length(longest: int, lengths: Sequence[int], limit: int) -> int:
    """How long an array is made that must hold ``longest``: the least that suffices of ``lengths``, or ``limit``.

    Without ``lengths`` these are the powers of two from 16 on, so that n times the length is log2(n) programs more, and
    the padding is less than half. ``limit`` is what an array can hold at most; ``longest`` must not exceed it.
    """
    fitting = [length for length in lengths if length >= longest]
    if lengths:
        return min([*fitting, limit])
    return min(max(_SHORTEST, 1 << (longest - 1).bit_length()), limit)
