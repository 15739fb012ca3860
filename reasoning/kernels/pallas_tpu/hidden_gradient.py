"""The sum of hidden states' gradients, which the backward kernel keeps in HBM while tiles of it come to VMEM and go.

Legend: D model width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from reasoning.kernels.pallas_tpu.forward import parts


@dataclass(frozen=True)
class HiddenGradient:
    """The hidden states' gradient, which waits in HBM between two tiles of columns and comes to VMEM to be added to.

    Double buffering by hand: VMEM holds two tiles of tokens, so that one is fetched during the step before its own,
    and the one before is written back, while matrix products run. Of ``steps`` a ``step`` counts tiles of tokens, of
    which this core has ``tiles`` from the ``first`` on, over all tiles of columns. With one tile of tokens it stays in
    VMEM until the end. ``begun``: HBM holds a sum from the beginning, and not whatever was there.
    """

    in_hbm: Any
    in_vmem: Any
    read_done: Any
    write_done: Any
    first: Any
    tiles: int
    steps: int
    begun: bool

    def _place(self, step: Any) -> Any:
        """Which of the two tiles in VMEM is a step's: in turn, so neighbouring steps never share one."""
        return step % min(2, self.tiles)

    def _copy(self, step: Any, write: bool) -> Any:
        # Made anew for start and for wait: a copy is known by its semaphore, and so by its place and direction. At most
        # one of each is on its way, or a wait might be satisfied by the bytes of another copy.
        rows, place = self.in_vmem.shape[1], self._place(step)
        tile = self.in_hbm.at[pl.ds((self.first + step % self.tiles) * rows, rows), :]
        if write:
            return pltpu.make_async_copy(self.in_vmem.at[place], tile, self.write_done.at[place])
        return pltpu.make_async_copy(tile, self.in_vmem.at[place], self.read_done.at[place])

    def fetch_first(self, step: Any) -> None:
        """Begins to fetch the first step's tile, where there is something to fetch."""
        if self.begun:
            pl.when(step == 0)(self._copy(step, write=False).start)

    def fetch_next(self, step: Any) -> None:
        """Begins to fetch the next step's tile, which was written a tile of columns ago, or by the step before."""
        if self.tiles == 1:
            return

        # The step before wrote from the place that the next one is fetched to, and with two tiles of tokens it wrote
        # the very tile. It had all of this step's logits to finish.
        @pl.when(step >= 1)
        def _() -> None:
            self._copy(step - 1, write=True).wait()

        # In the first tile of columns there may be nothing to fetch yet: HBM holds whatever was there.
        @pl.when((step + 1 >= (0 if self.begun else self.tiles)) & (step + 1 < self.steps))
        def _() -> None:
            self._copy(step + 1, write=False).start()

    def add(self, step: Any, make: Callable[[slice], Array]) -> None:
        """Adds what ``make`` gives of each part of D to the step's tile, and sends it back."""
        place, fresh = self._place(step), 0 if self.begun else self.tiles
        fetched = self.steps if self.tiles > 1 else int(self.begun)

        @pl.when(step < fresh)
        def _() -> None:
            for part in parts(self.in_vmem.shape[2]):
                self.in_vmem[place, :, part] = make(part)

        @pl.when((step >= fresh) & (step < fetched))
        def _() -> None:
            self._copy(step, write=False).wait()

        @pl.when(step >= fresh)
        def _() -> None:
            for part in parts(self.in_vmem.shape[2]):
                self.in_vmem[place, :, part] += make(part)

        last = step == self.steps - 1

        def send() -> None:
            self._copy(step, write=True).start()

        if self.tiles > 1:
            send()
        else:
            pl.when(last)(send)

        # No later step waits for the last write, and a kernel must not end while a copy is on its way.
        @pl.when(last)
        def _() -> None:
            self._copy(step, write=True).wait()
