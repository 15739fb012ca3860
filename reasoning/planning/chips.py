"""What chips can do at most, as their makers publish it: the one table that rooflines are drawn from."""

from dataclasses import dataclass

from reasoning.core.errors import InputError


@dataclass(frozen=True)
class Chip:
    """Peaks of one chip, which JAX sees as so many ``devices``.

    ``flops`` of dense bfloat16 products a second, ``memory`` bytes of HBM as they are sold, of which
    programs can have those that are ``usable`` (by the compiler's own refusals), ``hbm`` bytes that can be
    read or written a second, ``interconnect`` bytes that all links to other chips carry one way a second, ``network``
    bytes a second to other slices or hosts. ``source`` is where these stand.
    """

    flops: float
    memory: float
    usable: float
    hbm: float
    interconnect: float
    network: float
    source: str
    devices: int = 1

    def of_a_device(self, what: float) -> float:
        """One device's share of a chip's peak."""
        return what / self.devices


# The network of a slice is that of its hosts (jax-ml.github.io/scaling-book, "All about rooflines"), shared by chips.
_GIB = 2.0**30
_CLOUD = "https://cloud.google.com/tpu/docs"
CHIPS = {
    "v4": Chip(275e12, 32e9, 30.75 * _GIB, 1228e9, 300e9, 3.1e9, f"{_CLOUD}/v4"),
    "v5e": Chip(197e12, 16e9, 15.75 * _GIB, 819e9, 200e9, 3.1e9, f"{_CLOUD}/v5e"),
    "v5p": Chip(459e12, 95e9, 95.74 * _GIB, 2765e9, 600e9, 6.2e9, f"{_CLOUD}/v5p"),
    "v6e": Chip(918e12, 32e9, 31.25 * _GIB, 1600e9, 400e9, 12.5e9, f"{_CLOUD}/v6e"),
    "tpu7x": Chip(2307e12, 192e9, 189.5 * _GIB, 7380e9, 600e9, 12.5e9, f"{_CLOUD}/tpu7x", devices=2),
    "h100": Chip(989.4e12, 80e9, 80e9, 3350e9, 450e9, 50e9, "https://www.nvidia.com/en-us/data-center/h100 (SXM5)"),
}
"""By generation; a maker's GB and GB/s are 10 ** 9 bytes."""

_KINDS = {
    "TPU v4": "v4",
    "TPU v5 lite": "v5e",
    "TPU v5": "v5p",
    "TPU v6 lite": "v6e",
    "TPU7x": "tpu7x",
    "NVIDIA H100 80GB HBM3": "h100",
}


def chip_of(kind: str) -> Chip:
    """The chip whose devices JAX calls ``kind``. Raises InputError for one that isn't in the table."""
    if kind not in _KINDS:
        raise InputError(f"no peaks are known of the device {kind!r}; there are {', '.join(_KINDS)}")
    return CHIPS[_KINDS[kind]]
