"""The TPU slices that clouds rent, in the words of each of their interfaces."""

import math
import re
from dataclasses import dataclass

from reasoning.core.errors import InputError
from reasoning.planning.topology import CLOUD_NAMES

_RENTED = {"v5e": "v5litepod"}
"""Where the name that people say isn't the one that is rented."""

_NODE_LABELS = {
    "v4": "tpu-v4-podslice",
    "v5e": "tpu-v5-lite-podslice",
    "v5p": "tpu-v5p-slice",
    "v6e": "tpu-v6e-slice",
    "tpu7x": "tpu7x",
}
"""Values of GKE's node label cloud.google.com/gke-tpu-accelerator."""

_RUNTIMES = {
    "v4": "tpu-ubuntu2204-base",
    "v5e": "v2-alpha-tpuv5-lite",
    "v5p": "v2-alpha-tpuv5",
    "v6e": "v2-alpha-tpuv6e",
}
"""Images of TPU VMs."""


@dataclass(frozen=True)
class Slices:
    """So many equal slices of a pod. ``rented`` is v5litepod-16 and the like, ``shape`` 4x4; ``hosts`` of one slice."""

    count: int
    rented: str
    shape: str
    hosts: int
    chips_per_host: int
    node_label: str
    runtime: str

    @property
    def planned(self) -> str:
        """What ``reasoning plan --on`` calls them."""
        return self.rented if self.count == 1 else f"{self.count}x{self.rented}"


def slices_of(name: str) -> Slices:
    """The slices of a name: v5e-16 or v5litepod-16, v5p-64, 2xv5e-256. Raises InputError for one that isn't rented."""
    match = re.fullmatch(r"([1-9]\d*)x((?:v|tpu).+)", name)
    count, one = match.groups() if match else ("1", name)
    generation, dash, size = one.partition("-")
    rented = f"{_RENTED.get(generation, generation)}{dash}{size}"
    if rented not in CLOUD_NAMES:
        raise InputError(f"no TPU is rented as {name!r}; there are {', '.join(CLOUD_NAMES)}; 2xv5e-256 is two slices")
    kind, shape = CLOUD_NAMES[rented].split(":")
    chips = math.prod(int(length) for length in shape.split("x"))
    flat = kind in ("v5e", "v6e")
    per_host = chips if flat and chips <= 8 else 4
    runtime = _RUNTIMES.get(kind, "")
    return Slices(int(count), rented, shape, chips // per_host, per_host, _NODE_LABELS[kind], runtime)
