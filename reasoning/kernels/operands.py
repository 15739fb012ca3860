"""What every backend of the kernels takes and gives: the arrays that make logits, and the sums over them.

All of it is local to one device; sums over a sharded vocabulary are the caller's.

Legend: B rows, T time, K candidates of one token, D model width, V columns of the vocabulary on this device.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from reasoning.core.errors import InputError

MASKED = -1e30
"""Logit of a padded column: its exponential is zero, and products with it stay finite (minus infinity's would not)."""


@dataclass(frozen=True)
class Operands:
    """What makes the logits ``soft_cap * tanh((h W + b) / soft_cap) / temperature``.

    Columns from the scalar ``real_columns`` on are padding and have no probability; None means that all are real.
    ``varying`` are the mesh axes over which devices hold different parts of any of it.
    """

    hidden_BTD: Array
    unembed_DV: Array
    bias_V: Array | None
    inverse_temperature_BT: Array
    real_columns: Array | None
    soft_cap: float | None = None
    varying: tuple[str, ...] = ()

    @property
    def accumulator(self) -> jnp.dtype:
        """The type of sums and outputs: float32, or float64 where the inputs are (so that finite differences work)."""
        return jnp.promote_types(self.operand, jnp.float32)

    @property
    def operand(self) -> jnp.dtype:
        """The type in which matrices are multiplied."""
        return jnp.result_type(self.hidden_BTD, self.unembed_DV)


def strip_of(operands: Operands, start: Array, size: int) -> Operands:
    """The operands of ``size`` columns from ``start`` on."""
    bias_V, real_columns = operands.bias_V, operands.real_columns
    return replace(
        operands,
        unembed_DV=lax.dynamic_slice_in_dim(operands.unembed_DV, start, size, 1),
        bias_V=None if bias_V is None else lax.dynamic_slice_in_dim(bias_V, start, size, 0),
        real_columns=None if real_columns is None else real_columns - start,
    )


def zeros_for(operands: Operands, shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
    """Where a scan's sum over these operands begins."""
    start = jnp.zeros(shape, dtype)
    # Under shard_map a scan's carry must have one type throughout, and what is added differs between devices.
    return lax.pcast(start, operands.varying, to="varying") if operands.varying else start


class Statistics(NamedTuple):
    """Sums over one device's columns, from which log-probability, entropy and log-sum-exp follow; each [B, T].

    ``shift`` is the largest logit z, ``total`` sums exp(z - shift), ``moment`` sums exp(z - shift) (z - shift), and
    ``target`` [B, T, K] are the candidates' logits (0 where one isn't among these columns). Sums relative to the shift
    keep their precision when logits are in the thousands.
    """

    shift: Array
    total: Array
    moment: Array
    target: Array


class SoftmaxResiduals(NamedTuple):
    """What the backward pass keeps of the forward pass, over the whole vocabulary: log p = z - shift - log_total."""

    shift: Array
    log_total: Array
    entropy: Array


class LogitCoefficients(NamedTuple):
    """What makes a logit's gradient: ``p (softmax - entropy (log p + H))`` with the token's entropy H, plus ``target``
    where it is a candidate's; [B, T] but for ``target`` [B, T, K].
    """

    softmax: Array
    entropy: Array
    target: Array


class GradientTypes(NamedTuple):
    """The types that gradients may leave a backend in; wider is always allowed."""

    hidden: jnp.dtype
    unembed: jnp.dtype


class ParameterGradients(NamedTuple):
    """Gradients of matrix and bias, summed over this device's tokens."""

    unembed_DV: Array
    bias_V: Array | None


class StudentTeacher(NamedTuple):
    """What makes the logits of the one that learns, and of the one it learns from, over the same tokens and columns."""

    student: Operands
    teacher: Operands


class Normaliser(NamedTuple):
    """The log-sum-exp of a token's logits over the whole vocabulary, in two parts [B, T] that keep its digits:
    log p = (z - shift) - log_total, where shift is the largest logit.
    """

    shift: Array
    log_total: Array


class Normalisers(NamedTuple):
    """Those of both distributions."""

    student: Normaliser
    teacher: Normaliser


class DivergenceSums(NamedTuple):
    """Sums over one device's columns, each [B, T]: of the divergence, and of its derivatives with respect to log q."""

    value: Array
    gradient: Array


def check_temperature(temperature: float | Array) -> None:
    """Raises InputError for a number that isn't positive; what an array holds isn't known before the program runs."""
    if isinstance(temperature, int | float) and not temperature > 0:
        raise InputError(f"temperature is {temperature}; it divides the logits, so it must be above 0")


def check_soft_cap(soft_cap: float | None) -> None:
    """Raises InputError for a cap that isn't positive."""
    if soft_cap is not None and not soft_cap > 0:
        raise InputError(f"soft_cap is {soft_cap}; it must be above 0, or None for no cap")


def inverse_of(temperature: float | Array, shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
    """1 / temperature for each token: a number, or an array that broadcasts to the ``shape`` [B, T]."""
    values = jnp.asarray(temperature, dtype)
    values = values.reshape((1,) * (2 - values.ndim) + values.shape)
    return jnp.broadcast_to(1 / values, shape)
