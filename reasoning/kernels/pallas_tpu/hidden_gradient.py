"""The sum of hidden states' gradients, which the backward kernel keeps in HBM while tiles of it come to VMEM and go.

Legend: D model width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from reasoning.kernels.pallas_tpu.forward import parts

HALVES = jnp.bfloat16, jnp.int16
"""The types of ``halves``."""


def halves(values: Array) -> tuple[Array, Array]:
    """Float32 numbers as the nearest bfloat16, and what their bits have beyond it, as int16: nothing is lost.

    So the result of a sum is there when the sum is, and only the other half is memory for the sum's sake.
    """
    bits = lax.bitcast_convert_type(values, jnp.int32)
    # Half of a bfloat16's last place, added to the bits of a number of either sign, carries its magnitude.
    nearest = (bits + 0x8000) & ~0xFFFF
    # Exact: the lower bits are zeros.
    upper = lax.bitcast_convert_type(nearest, jnp.float32).astype(jnp.bfloat16)
    return upper, (bits - nearest).astype(jnp.int16)


def joined(upper: Array, lower: Array) -> Array:
    """The float32 numbers that ``halves`` took apart."""
    nearest = lax.bitcast_convert_type(upper.astype(jnp.float32), jnp.int32)
    return lax.bitcast_convert_type(nearest + lower.astype(jnp.int32), jnp.float32)


@dataclass(frozen=True)
class HiddenGradient:
    """The hidden states' gradient, which waits in HBM between two tiles of columns and comes to VMEM to be added to.

    Double buffering by hand: VMEM holds two tiles of tokens, so that one is fetched during the step before its own,
    and the one before is written back, while matrix products run. Of ``steps`` a ``step`` counts tiles of tokens, of
    which this core has ``tiles`` from the ``first`` on, over all tiles of columns. With one tile of tokens it stays in
    VMEM until the end. ``begun``: HBM holds a sum from the beginning, and not whatever was there. The sum is one array
    in float32, or two that are its ``halves``; each has a semaphore for each place.
    """

    in_hbm: tuple[Any, ...]
    in_vmem: tuple[Any, ...]
    read_done: Any
    write_done: Any
    first: Any
    tiles: int
    steps: Any
    begun: bool

    def _place(self, step: Any) -> Any:
        """Which of the two tiles in VMEM is a step's: in turn, so neighbouring steps never share one."""
        return step % min(2, self.tiles)

    def _copies(self, step: Any, write: bool) -> list[Any]:
        # Made anew for start and for wait: a copy is known by its semaphore, and so by its place and direction. At most
        # one of each is on its way, or a wait might be satisfied by the bytes of another copy.
        place, copies = self._place(step), []
        for number, (whole, tiles) in enumerate(zip(self.in_hbm, self.in_vmem, strict=True)):
            rows = tiles.shape[1]
            tile = whole.at[pl.ds((self.first + step % self.tiles) * rows, rows), :]
            source, target = (tiles.at[place], tile) if write else (tile, tiles.at[place])
            done = self.write_done if write else self.read_done
            copies.append(pltpu.make_async_copy(source, target, done.at[number, place]))
        return copies

    def _start(self, step: Any, *, write: bool) -> None:
        for copy in self._copies(step, write):
            copy.start()

    def _wait(self, step: Any, *, write: bool) -> None:
        for copy in self._copies(step, write):
            copy.wait()

    def fetch_first(self, step: Any) -> None:
        """Begins to fetch the first step's tile, where there is something to fetch."""
        if self.begun:
            pl.when(step == 0)(lambda: self._start(step, write=False))

    def fetch_next(self, step: Any) -> None:
        """Begins to fetch the next step's tile, which was written a tile of columns ago, or by the step before."""
        if self.tiles == 1:
            return

        # The step before wrote from the place that the next one is fetched to, and with two tiles of tokens it wrote
        # the very tile. It had all of this step's logits to finish.
        @pl.when(step >= 1)
        def _() -> None:
            self._wait(step - 1, write=True)

        # In the first tile of columns there may be nothing to fetch yet: HBM holds whatever was there.
        @pl.when((step + 1 >= (0 if self.begun else self.tiles)) & (step + 1 < self.steps))
        def _() -> None:
            self._start(step + 1, write=False)

    def add(self, step: Any, make: Callable[[slice], Array]) -> None:
        """Adds what ``make`` gives of each part of D to the step's tile, and sends it back."""
        place, fresh = self._place(step), 0 if self.begun else self.tiles
        fetched = self.steps if self.tiles > 1 else int(self.begun)

        @pl.when(step < fresh)
        def _() -> None:
            for part in parts(self.in_vmem[0].shape[2]):
                self._put(place, part, make(part))

        @pl.when((step >= fresh) & (step < fetched))
        def _() -> None:
            self._wait(step, write=False)

        @pl.when(step >= fresh)
        def _() -> None:
            for part in parts(self.in_vmem[0].shape[2]):
                self._put(place, part, self._taken(place, part) + make(part))

        last = step == self.steps - 1

        def send() -> None:
            self._start(step, write=True)

        if self.tiles > 1:
            send()
        else:
            pl.when(last)(send)

        # No later step waits for the last write, and a kernel must not end while a copy is on its way.
        @pl.when(last)
        def _() -> None:
            self._wait(step, write=True)

    def _taken(self, place: Any, part: slice) -> Array:
        """A part of the sum in VMEM, in float32."""
        found = [tiles[place, :, part] for tiles in self.in_vmem]
        return found[0] if len(found) == 1 else joined(*found)

    def _put(self, place: Any, part: slice, values: Array) -> None:
        found = (values,) if len(self.in_vmem) == 1 else halves(values)
        for tiles, each in zip(self.in_vmem, found, strict=True):
            tiles[place, :, part] = each
