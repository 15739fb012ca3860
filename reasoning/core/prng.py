"""The one rule for random numbers: a key is a function of (seed, stage, step) and of nothing else."""

import zlib

import jax
from jaxtyping import Array, Int, Key

from reasoning.core.errors import InputError

SEEDS = 2**32


def stage_key(seed: int, name: str) -> Key[Array, ""]:
    """Give every stage its own stream, so that adding or skipping a stage leaves the others' numbers alone.

    ``fold_in(key(seed), crc32(name))`` as a typed scalar key. Raises InputError for a seed outside 0 … 2^32 - 1: JAX
    keeps 32 bits of it, so a larger one would silently equal a smaller.
    """
    if not 0 <= seed < SEEDS:
        raise InputError(f"seed {seed} is out of range; choose one from 0 to {SEEDS - 1}")
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))


def step_key(key: Key[Array, ""], step: int | Int[Array, ""]) -> Key[Array, ""]:
    """The key of one step of a stage; ``step`` may be traced. A resumed step draws what it drew the first time."""
    return jax.random.fold_in(key, step)


def data_seed(seed: int, name: str) -> int:
    """The seed of a stage's data order, a plain number; other for each run and for each stage of a run."""
    return zlib.crc32(f"{seed}/{name}".encode())
