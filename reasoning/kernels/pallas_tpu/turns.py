"""How the cores of one device share out the backward pass, so that neither gradient is held twice.

Two cores (v4, v5p) take turns, a call of the kernel each. In a turn one core has the first half of the tokens and the
other the second; each completes the tile of columns that it began a turn before, with the other half, and begins its
next. So no two cores write one place, nor does one wait for the other within a call. What a turn leaves to the next is
a float32 sum of one tile of the matrix's gradient for each core; of the hidden states' gradient it would be one of all
tokens for each core.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu


@dataclass(frozen=True)
class Turns:
    """How many tokens and columns there are, how many tiles of each, and which of them a core visits in a turn.

    A turn's steps are its ``visits`` of tiles of columns, each of all of the core's tiles of tokens. One core visits
    all tiles in one turn.
    """

    tokens: int
    columns: int
    token_tiles: int
    column_tiles: int
    cores: int

    @property
    def token_tiles_a_core(self) -> int:
        return pl.cdiv(self.token_tiles, self.cores)

    @property
    def rows(self) -> int:
        """Tiles of tokens, with the one that the last core may have beyond the last."""
        return self.token_tiles_a_core * self.cores

    @property
    def visits(self) -> int:
        """Tiles of columns in a turn: of two cores' one is completed and one begun."""
        return self.column_tiles if self.cores == 1 else 2

    @property
    def count(self) -> int:
        """How many turns there are: one more than two cores have tiles of columns, since each tile takes two."""
        return 1 if self.cores == 1 else pl.cdiv(self.column_tiles, 2) + 1

    def share(self, turn: Any, core: Any) -> Any:
        """Which part of the tokens a core has in a turn."""
        return (core + turn) % self.cores

    def token_tile(self, turn: Any, core: Any, n: Any) -> Any:
        """A step's tile of tokens, which may lie beyond the last."""
        return self.share(turn, core) * self.token_tiles_a_core + n

    def column_tile(self, turn: Any, core: Any, v: Any) -> Any:
        """A visit's tile of columns; there is none where it is below 0 or beyond the last."""
        # An odd tile is missing at the beginning: what a core writes there for want of one is written again later.
        return v if self.cores == 1 else 2 * (turn + v - 1) + core - self.column_tiles % 2

    def is_own(self, turn: Any, core: Any, v: Any) -> Any:
        """Whether a visit has a tile of columns."""
        tile = self.column_tile(turn, core, v)
        return (tile >= 0) & (tile < self.column_tiles)

    def block(self, turn: Any, core: Any, v: Any) -> Any:
        """The tile of columns whose blocks are in VMEM during a visit: for want of one, the one that the core has next
        or had before, so that no other core's results are touched.
        """
        tile = self.column_tile(turn, core, v)
        if self.cores == 1:
            return tile
        return jnp.where(tile < 0, tile % 2, jnp.where(tile < self.column_tiles, tile, tile - 2))

    def steps(self, turn: Any, core: Any) -> tuple[Any, Any]:
        """How many steps a core has in a turn, and how many pass before the first of them."""
        if self.cores == 1:
            return self.column_tiles * self.token_tiles, 0
        completes, begins = (jnp.where(self.is_own(turn, core, v), self.token_tiles_a_core, 0) for v in range(2))
        return completes + begins, self.token_tiles_a_core - completes


@dataclass(frozen=True)
class MatrixGradient:
    """The float32 sum of a tile's gradient of the matrix, [D, v] in VMEM, from a turn to the next in HBM.

    ``between`` holds a tile for each core; without it a visit sees all tokens, and makes the sum whole.
    """

    sum_Dv: Any
    between: Any
    done: Any

    def begin(self, v: Any, n: Any) -> None:
        """Fetches what the turn before left, or nothing."""
        started, kept = n == 0, self.between is not None

        @pl.when(started & (v > 0) if kept else started)
        def _() -> None:
            self.sum_Dv[...] = jnp.zeros_like(self.sum_Dv)

        if kept:
            copy = pltpu.make_async_copy(self.between, self.sum_Dv, self.done)
            pl.when(started & (v == 0))(copy.start)

    def fetched(self, v: Any, n: Any) -> None:
        """Waits for what ``begin`` fetches."""
        if self.between is not None:
            copy = pltpu.make_async_copy(self.between, self.sum_Dv, self.done)
            pl.when((n == 0) & (v == 0))(copy.wait)

    def end(self, v: Any, last: Any, write: Callable[[Array], None]) -> None:
        """Gives ``write`` the whole sum, or leaves its half to the next turn."""
        kept = self.between is not None

        @pl.when(last & (v == 0) if kept else last)
        def _() -> None:
            write(self.sum_Dv[...])

        if kept:

            @pl.when(last & (v > 0))
            def _() -> None:
                copy = pltpu.make_async_copy(self.sum_Dv, self.between, self.done)
                copy.start()
                copy.wait()
