"""The least time that a program can take on a device, by published peaks, and what it waits for."""

from dataclasses import dataclass

from reasoning.planning.chips import Chip
from reasoning.planning.compiling import Compiled


@dataclass(frozen=True)
class Roofline:
    """Seconds that a call keeps each part of a device busy at its peak; all of them may work at once.

    ``products`` of the matrix unit, ``memory`` traffic, ``links`` to other chips of the slice, ``network`` between
    slices.
    """

    products: float
    memory: float
    links: float
    network: float

    @property
    def seconds(self) -> float:
        """The longest of them: no call can take less."""
        return max(self.products, self.memory, self.links, self.network)

    @property
    def binds(self) -> str:
        """The part that the others wait for."""
        times = {name: getattr(self, name) for name in ("products", "memory", "links", "network")}
        return max(times, key=lambda name: times[name])


def roofline(found: Compiled, chip: Chip) -> Roofline:
    """The times of one call."""
    within = sum(one.sent for one in found.exchanged if not one.across_slices)
    across = sum(one.sent for one in found.exchanged if one.across_slices)
    return Roofline(
        products=found.flops / chip.of_a_device(chip.flops),
        memory=found.hbm / chip.of_a_device(chip.hbm),
        links=within / chip.of_a_device(chip.interconnect),
        network=across / chip.of_a_device(chip.network),
    )
