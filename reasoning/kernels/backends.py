"""Who computes log-probabilities and divergences on a device: chunks of plain XLA, or Pallas kernels for TPUs.

Both are a record of the same functions, so that ``token_log_probs`` and ``token_divergence`` have one mathematics,
whichever a mesh's devices call for. GPUs take the chunks: a kernel for them must be run on one before it is trusted.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, get_args

import jax
from jax import Array
from jax.sharding import Mesh

from reasoning.core.errors import InputError
from reasoning.kernels.chunked import backward as chunked_backward
from reasoning.kernels.chunked import divergence as chunked_divergence
from reasoning.kernels.chunked import forward as chunked_forward
from reasoning.kernels.chunked import one_pass as chunked_one_pass
from reasoning.kernels.divergence import Divergence
from reasoning.kernels.operands import (
    DivergenceSums,
    GradientTypes,
    LogitCoefficients,
    Normalisers,
    Operands,
    ParameterGradients,
    SoftmaxResiduals,
    Statistics,
    StudentTeacher,
)
from reasoning.kernels.pallas_tpu import backward as pallas_backward
from reasoning.kernels.pallas_tpu import divergence as pallas_divergence
from reasoning.kernels.pallas_tpu import forward as pallas_forward
from reasoning.kernels.pallas_tpu.tiles import TPU, chip_named

Choice = Literal["auto", "chunked", "pallas_tpu", "pallas_tpu_interpreted"]
"""How an experiment file names them; 'auto' goes by the platform of the mesh's devices."""

_LOGITS_BYTES = 8 * 2**20
"""How much memory a chunk of one model's logits may take: on a CPU about what its caches hold."""

ACCELERATOR_LOGITS_BYTES = 64 * 2**20
"""The same for accelerators, whose matrix units want larger products."""

_INTERPRETED_CHIP = "TPU v5e"
"""The chip whose memory interpreted kernels make do with, on whatever device they are interpreted."""


@dataclass(frozen=True)
class Kernels:
    """The passes over one device's tokens and columns, forward and backward; each is described in ``chunked``.

    Two of equal ``settings`` are equal, since compiled programs are remembered by them and no two partials are.
    ``typed``: whether results say over which mesh axes they differ, which ``jax.shard_map`` then checks; XLA's
    operations all say it, a Pallas kernel's results don't. ``weighted`` gives log-probabilities and gradients in one
    pass; None: this backend takes two, since one would need the logits of more tokens than its memory holds.
    ``whole_sums``: whether that pass may keep a float32 sum of a whole bfloat16 matrix's size.
    """

    settings: tuple[int, bool] | TPU  # what ``chunked`` was given, or what Pallas kernels are built for
    description: str = field(compare=False)
    typed: bool = field(compare=False)
    statistics: Callable[[Operands, Array], Statistics] = field(compare=False)
    gradients: Callable[
        [Operands, Array, SoftmaxResiduals, LogitCoefficients, GradientTypes, Array | None],
        tuple[Array, ParameterGradients],
    ] = field(compare=False)
    normalisers: Callable[[StudentTeacher], Normalisers] = field(compare=False)
    divergences: Callable[[StudentTeacher, Normalisers | None, Divergence], tuple[DivergenceSums, Normalisers]] = field(
        compare=False
    )
    divergence_gradients: Callable[
        [StudentTeacher, Normalisers, Array, Array, Divergence, GradientTypes, Array | None],
        tuple[Array, ParameterGradients],
    ] = field(compare=False)
    weighted: (
        Callable[
            [Operands, Array, Callable[[Array, Any], Array], Any, Callable[[Statistics], Statistics]],
            tuple[Statistics, Array, ParameterGradients],
        ]
        | None
    ) = field(compare=False)
    whole_sums: bool = field(compare=False)

    def __str__(self) -> str:
        return self.description


def chunked(logits_bytes: int = _LOGITS_BYTES, *, whole_sums: bool = True) -> Kernels:
    """Plain XLA on any device, a chunk of tokens at a time, each with at most ``logits_bytes`` of a model's logits.

    By default ``whole_sums`` are as on CPUs, whose products make a float32 copy of a bfloat16 matrix anyway.
    """
    return Kernels(
        settings=(logits_bytes, whole_sums),
        description="plain XLA, a chunk of tokens at a time",
        typed=True,
        statistics=partial(chunked_forward.statistics, logits_bytes=logits_bytes),
        gradients=partial(chunked_backward.gradients, logits_bytes=logits_bytes),
        normalisers=partial(chunked_divergence.normalisers_of, logits_bytes=logits_bytes),
        divergences=partial(chunked_divergence.divergences, logits_bytes=logits_bytes),
        divergence_gradients=partial(chunked_divergence.divergence_gradients, logits_bytes=logits_bytes),
        weighted=partial(chunked_one_pass.weighted, logits_bytes=logits_bytes),
        whole_sums=whole_sums,
    )


def pallas_tpu(tpu: TPU) -> Kernels:
    """Pallas kernels that keep logits in a TPU's VMEM."""
    how = ", interpreted: exact and very slow" if tpu.interpret else ""
    return Kernels(
        settings=tpu,
        description=f"Pallas for {tpu.chip.name}{how}",
        typed=False,
        statistics=partial(pallas_forward.statistics, tpu=tpu),
        gradients=partial(pallas_backward.gradients, tpu=tpu),
        normalisers=partial(pallas_divergence.normalisers_of, tpu=tpu),
        divergences=partial(pallas_divergence.divergences, tpu=tpu),
        divergence_gradients=partial(pallas_divergence.divergence_gradients, tpu=tpu),
        weighted=None,
        whole_sums=False,
    )


def resolved(choice: Choice, mesh: Mesh | None) -> tuple[Choice, Any]:
    """A choice other than 'auto', and a device of the mesh, which needn't exist on this machine; without a mesh JAX's.

    Raises InputError for a choice that isn't known, and for Pallas where there is no TPU.
    """
    device = jax.devices()[0] if mesh is None else mesh.devices.flat[0]
    if choice == "auto":
        return ("pallas_tpu" if device.platform == "tpu" else "chunked"), device
    if choice not in get_args(Choice):
        raise InputError(f"kernels {choice!r} are unknown; choose one of {', '.join(get_args(Choice))}")
    if choice == "pallas_tpu" and device.platform != "tpu":
        raise InputError(
            f"kernels are 'pallas_tpu', but the mesh's devices are {device.platform}; choose 'chunked', or "
            "'pallas_tpu_interpreted' to try the kernels without a TPU"
        )
    return choice, device


def kernels_for(choice: Choice, mesh: Mesh | None) -> Kernels:
    """The kernels for the mesh's devices.

    Raises InputError as ``resolved`` does, and for a TPU whose memory isn't known.
    """
    choice, device = resolved(choice, mesh)
    if choice == "chunked":
        return chunked() if device.platform == "cpu" else chunked(ACCELERATOR_LOGITS_BYTES, whole_sums=False)
    return pallas_tpu(tpu_of(choice, device))


def tpu_of(choice: Choice, device: Any) -> TPU:
    """What kernels are built for on a device, by one of the two choices that ``resolved`` gives for them.

    Raises InputError for a TPU whose memory isn't known.
    """
    if choice == "pallas_tpu_interpreted":
        return TPU(chip_named(_INTERPRETED_CHIP), interpret=True)
    return TPU(chip_named(device.device_kind))
