"""Cases of attention over packed rows, and what it is by its formula in float64."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from reasoning.kernels.attention.rule import Rule


@dataclass(frozen=True)
class Case:
    """Sizes and rule of an attention; ``values`` are a value's channels."""

    time: int
    heads: int
    key_heads: int
    channels: int
    values: int
    soft_cap: float | None = None
    window: int = 0

    @property
    def rule(self) -> Rule:
        """The rule, with a scale that is not the usual one."""
        return Rule(0.7 * self.channels**-0.5, self.soft_cap, self.window)

    def arrays(self, seed: int = 0, batch: int = 2, dtype: str = "float32") -> tuple[jax.Array, ...]:
        """Queries, keys, values, segments of three in a row with padding behind, and what comes from above."""
        random = np.random.default_rng(seed)
        shapes = (
            (batch, self.time, self.heads, self.channels),
            (batch, self.key_heads, self.time, self.channels),
            (batch, self.key_heads, self.time, self.values),
            (batch, self.time, self.heads, self.values),
        )
        query, key, value, above = (jnp.asarray(random.normal(size=shape), dtype) for shape in shapes)
        ends = np.sort(random.integers(1, self.time, (batch, 3)), axis=1)
        segments = 1 + (np.arange(self.time)[None, :, None] >= ends[:, None, :]).sum(axis=2)
        return query, key, value, jnp.asarray(np.where(segments == 4, 0, segments), jnp.int32), above


CASES = {
    "grouped heads": Case(70, 4, 2, 8, 8),
    "one head, capped": Case(64, 1, 1, 8, 8, soft_cap=2.0),
    "a window": Case(100, 6, 3, 8, 8, window=9),
    "a window of one": Case(20, 2, 2, 8, 8, window=1),
    "latent: wider queries than values": Case(45, 4, 4, 12, 8),
    "all at once": Case(33, 4, 1, 16, 8, soft_cap=5.0, window=20),
}


def oracle(case: Case, query: jax.Array, key: jax.Array, value: jax.Array, segments: jax.Array) -> np.ndarray:
    """Softmax attention in float64, all scores at once."""
    query_64, key_64, value_64 = (np.asarray(array, np.float64) for array in (query, key, value))
    repeat = case.heads // case.key_heads
    key_64, value_64 = np.repeat(key_64, repeat, axis=1), np.repeat(value_64, repeat, axis=1)
    scores = case.rule.scale * np.einsum("bthc,bhsc->bhts", query_64, key_64)
    if case.soft_cap:
        scores = case.soft_cap * np.tanh(scores / case.soft_cap)
    place, segments_64 = np.arange(case.time), np.asarray(segments)
    back = place[:, None] - place[None, :]
    read = (back >= 0) & (segments_64[:, :, None] == segments_64[:, None, :])
    if case.window:
        read &= back < case.window
    weights = np.where(read[:, None], np.exp(scores - scores.max(axis=-1, keepdims=True)), 0.0)
    return np.einsum("bhts,bhsc->bthc", weights / weights.sum(axis=-1, keepdims=True), value_64)
