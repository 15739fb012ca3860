"""Who computes log-probabilities and divergences on a device: chunks of plain XLA, or Pallas kernels for TPUs.

Both keep the contract of ``Kernels``, so that ``token_log_probs`` and ``token_divergence`` have one mathematics,
whichever a mesh's devices call for. GPUs take the chunks: a kernel for them must be run on one before it is trusted.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import jax
from jax import Array
from jax.sharding import Mesh

from reasoning.core.errors import InputError
from reasoning.kernels.chunked import backward as chunked_backward
from reasoning.kernels.chunked import divergence as chunked_divergence
from reasoning.kernels.chunked import forward as chunked
from reasoning.kernels.measures import Measure
from reasoning.kernels.operands import (
    Divergence,
    Normalisers,
    Operands,
    Pair,
    Slopes,
    Softmax,
    Statistics,
    Sums,
    Types,
)
from reasoning.kernels.pallas_tpu import backward as pallas_tpu_backward
from reasoning.kernels.pallas_tpu import divergence as pallas_tpu_divergence
from reasoning.kernels.pallas_tpu import forward as pallas_tpu
from reasoning.kernels.pallas_tpu.tiles import TPU, chip_named

Choice = Literal["auto", "chunked", "pallas_tpu", "pallas_tpu_interpreted"]
"""How an experiment file names them; 'auto' goes by the platform of the mesh's devices."""

LOGITS_BYTES = 8 * 2**20
"""How much memory a chunk of one model's logits may take: on a CPU about what its caches hold."""

ACCELERATOR_LOGITS_BYTES = 64 * 2**20
"""The same for accelerators, whose matrix units want larger products."""

INTERPRETED_CHIP = "TPU v5e"
"""The chip whose memory interpreted kernels make do with, on whatever device they are interpreted."""


class Kernels(Protocol):
    """The passes over one device's tokens and columns, forward and backward.

    ``typed``: whether results say over which mesh axes they differ, which ``jax.shard_map`` then checks.
    ``divergences`` finds the normalisers too where None are given, which needs all columns on the device.
    """

    @property
    def typed(self) -> bool: ...
    def statistics(self, operands: Operands, targets_BTK: Array) -> Statistics: ...
    def gradients(
        self, operands: Operands, targets_BTK: Array, softmax: Softmax, slopes: Slopes, types: Types
    ) -> tuple[Array, Sums]: ...
    def normalisers(self, pair: Pair) -> Normalisers: ...
    def divergences(
        self, pair: Pair, normalisers: Normalisers | None, measure: Measure
    ) -> tuple[Divergence, Normalisers]: ...
    def divergence_gradients(
        self,
        pair: Pair,
        normalisers: Normalisers,
        pull_BT: Array,
        upstream_BT: Array,
        measure: Measure,
        types: Types,
    ) -> tuple[Array, Sums]: ...


@dataclass(frozen=True)
class Chunked:
    """Plain XLA on any device, a chunk of tokens at a time, each with at most ``logits_bytes`` of a model's logits."""

    logits_bytes: int = LOGITS_BYTES

    @property
    def typed(self) -> bool:
        """XLA's own operations all say it."""
        return True

    def __str__(self) -> str:
        return "plain XLA, a chunk of tokens at a time"

    def statistics(self, operands: Operands, targets_BTK: Array) -> Statistics:
        """See ``chunked.statistics``."""
        return chunked.statistics(operands, targets_BTK, self.logits_bytes)

    def gradients(
        self, operands: Operands, targets_BTK: Array, softmax: Softmax, slopes: Slopes, types: Types
    ) -> tuple[Array, Sums]:
        """See ``chunked_backward.gradients``."""
        return chunked_backward.gradients(operands, targets_BTK, softmax, slopes, types, self.logits_bytes)

    def normalisers(self, pair: Pair) -> Normalisers:
        """See ``chunked_divergence.normalisers_of``."""
        return chunked_divergence.normalisers_of(pair, self.logits_bytes)

    def divergences(
        self, pair: Pair, normalisers: Normalisers | None, measure: Measure
    ) -> tuple[Divergence, Normalisers]:
        """See ``chunked_divergence.divergences``."""
        return chunked_divergence.divergences(pair, normalisers, measure, self.logits_bytes)

    def divergence_gradients(
        self,
        pair: Pair,
        normalisers: Normalisers,
        pull_BT: Array,
        upstream_BT: Array,
        measure: Measure,
        types: Types,
    ) -> tuple[Array, Sums]:
        """See ``chunked_divergence.divergence_gradients``."""
        return chunked_divergence.divergence_gradients(
            pair, normalisers, pull_BT, upstream_BT, measure, types, self.logits_bytes
        )


@dataclass(frozen=True)
class PallasTPU:
    """Pallas kernels that keep logits in a TPU's VMEM."""

    tpu: TPU

    @property
    def typed(self) -> bool:
        """A kernel's results say nothing of mesh axes."""
        return False

    def __str__(self) -> str:
        how = ", interpreted: exact and very slow" if self.tpu.interpret else ""
        return f"Pallas for {self.tpu.chip.name}{how}"

    def statistics(self, operands: Operands, targets_BTK: Array) -> Statistics:
        """See ``pallas_tpu.statistics``."""
        return pallas_tpu.statistics(operands, targets_BTK, self.tpu)

    def gradients(
        self, operands: Operands, targets_BTK: Array, softmax: Softmax, slopes: Slopes, types: Types
    ) -> tuple[Array, Sums]:
        """See ``pallas_tpu_backward.gradients``."""
        return pallas_tpu_backward.gradients(operands, targets_BTK, softmax, slopes, types, self.tpu)

    def normalisers(self, pair: Pair) -> Normalisers:
        """See ``pallas_tpu_divergence.normalisers_of``."""
        return pallas_tpu_divergence.normalisers_of(pair, self.tpu)

    def divergences(
        self, pair: Pair, normalisers: Normalisers | None, measure: Measure
    ) -> tuple[Divergence, Normalisers]:
        """See ``pallas_tpu_divergence.divergences``."""
        known = self.normalisers(pair) if normalisers is None else normalisers
        return pallas_tpu_divergence.divergences(pair, known, measure, self.tpu), known

    def divergence_gradients(
        self,
        pair: Pair,
        normalisers: Normalisers,
        pull_BT: Array,
        upstream_BT: Array,
        measure: Measure,
        types: Types,
    ) -> tuple[Array, Sums]:
        """See ``pallas_tpu_divergence.divergence_gradients``."""
        return pallas_tpu_divergence.divergence_gradients(
            pair, normalisers, pull_BT, upstream_BT, measure, types, self.tpu
        )


def kernels_for(choice: Choice, mesh: Mesh | None) -> Kernels:
    """The kernels for the mesh's devices, which needn't exist on this machine; without a mesh JAX's first device's.

    Raises InputError for a choice that isn't known, for Pallas where there is no TPU, and for a TPU whose memory isn't
    known.
    """
    device = jax.devices()[0] if mesh is None else mesh.devices.flat[0]
    if choice == "chunked" or (choice == "auto" and device.platform != "tpu"):
        return Chunked(LOGITS_BYTES if device.platform == "cpu" else ACCELERATOR_LOGITS_BYTES)
    if choice == "pallas_tpu_interpreted":
        return PallasTPU(TPU(chip_named(INTERPRETED_CHIP), interpret=True))
    if choice not in ("auto", "pallas_tpu"):
        raise InputError(f"kernels {choice!r} are unknown; choose one of {', '.join(Choice.__args__)}")
    if device.platform != "tpu":
        raise InputError(
            f"kernels are 'pallas_tpu', but the mesh's devices are {device.platform}; choose 'chunked', or "
            "'pallas_tpu_interpreted' to try the kernels without a TPU"
        )
    return PallasTPU(TPU(chip_named(device.device_kind)))
