"""Optimizers and learning-rate schedules, as settings that build optax transformations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from optax import contrib

from reasoning.core.errors import InputError
from reasoning.core.ranges import Count, Fraction, Index, NonNegative, Positive
from reasoning.core.signatures import function_words
from reasoning.core.user_code import check_shape
from reasoning.models.lora import SUFFIX

_UNDECAYED = ("scale", "bias")

_ADAM_RMS = 0.2
"""The root mean square of Adam's updates as it is usually found."""

_BY_HEAD = ("query", "key", "value", "query_up", "key_up", "value_up")
"""Matrices whose outputs are two axes, heads and their channels."""

_OF_HEADS = "output"
"""The matrix whose inputs are."""


@runtime_checkable
class Optimizer(Protocol):
    """Settings of an optimizer: any frozen dataclass that builds optax's transformation for a stage of so many steps.

    Stages share a compiled step only where their transformations have the very same ``update`` function.
    """

    def build(self, steps: int) -> optax.GradientTransformation:
        """The transformation; what its state keeps a parameter is sharded and saved like the parameter."""
        ...


def transformation_of(optimizer: Optimizer, steps: int) -> optax.GradientTransformation:
    """What an optimizer builds for so many steps. Raises InputError where that is no transformation."""
    given: Any = optimizer.build(steps)
    if not callable(getattr(given, "init", None)) or not callable(getattr(given, "update", None)):
        raise InputError(
            f"the optimizer {function_words(type(optimizer).build)} gave {given!r:.60}; it must return an "
            "optax.GradientTransformation"
        )
    return given


Fall = Callable[[jax.Array], jax.Array]
"""From the share of the decay's steps that are over, 0..1, to the share of the learning rate's fall that is."""


def linear(progress: jax.Array) -> jax.Array:
    """The rate falls by the same amount each step."""
    return progress


def cosine(progress: jax.Array) -> jax.Array:
    """The rate falls as half a cosine, slowly at both ends (SGDR, arXiv 1608.03983, eq. 5, without restarts)."""
    return 0.5 * (1.0 - jnp.cos(jnp.pi * progress))


@dataclass(frozen=True)
class Scheduled:
    """What all optimizers here have: a clip of the gradient's global norm before, decay and a schedule after.

    Norm scales and biases are not decayed. A cosine schedule is ``decay_share = 1.0``, ``schedule = cosine``.
    """

    learning_rate: Positive
    warmup: Index = 0  # steps of linear warm-up
    decay_share: Fraction = 0.0  # the last share of all steps, over which, after any warm-up, the rate falls …
    final_share: Fraction = 0.0  # … to this share of learning_rate …
    schedule: Fall = linear  # … by this function
    weight_decay: NonNegative = 0.0
    clip_norm: Positive = 1.0

    def __post_init__(self) -> None:
        if self.decay_share == 0 and self.schedule is not linear:
            raise InputError(
                f"the learning rate's schedule is {getattr(self.schedule, '__name__', self.schedule)}, but decay_share "
                "is 0, so it never falls; set decay_share = 1.0 for a fall over all steps, or drop the schedule"
            )


@dataclass(frozen=True)
class AdamW(Scheduled):
    """AdamW (arXiv 1711.05101)."""

    beta1: Fraction = 0.9
    beta2: Fraction = 0.95
    epsilon: Positive = 1e-8
    # How first moments are kept; in bfloat16 they take half the room. Second moments change by less than it resolves.
    momentum_dtype: Literal["float32", "bfloat16"] = "float32"

    def build(self, steps: int) -> optax.GradientTransformation:
        """The transformation for a stage of ``steps`` steps."""
        own = {"beta1": self.beta1, "beta2": self.beta2, "epsilon": self.epsilon}
        return _built(_adamw, self, steps, own, momentum_dtype=self.momentum_dtype)


@dataclass(frozen=True)
class Muon(Scheduled):
    """Muon: orthogonalized momentum for matrices (kellerjordan.github.io/posts/muon), Adam for everything else.

    Updates of a matrix are scaled to the usual size of Adam's, ``0.2 sqrt(max(inputs, outputs))`` (arXiv 2502.16982,
    eq. 4), so that AdamW's learning rates carry over. Adam's are embeddings, head, norm scales and biases.
    """

    momentum: Fraction = 0.95
    beta1: Fraction = 0.9
    beta2: Fraction = 0.95
    epsilon: Positive = 1e-8

    def build(self, steps: int) -> optax.GradientTransformation:
        """The transformation for a stage of ``steps`` steps."""
        adam = {"beta1": self.beta1, "beta2": self.beta2, "epsilon": self.epsilon}
        return _built(_muon, self, steps, {"momentum": self.momentum, **adam})


@dataclass(frozen=True)
class Adafactor(Scheduled):
    """Adafactor (arXiv 1804.04235): second moments of large matrices as the product of a row and a column.

    As in the paper's algorithm 4 there is no momentum, an update's root mean square is clipped, and the learning rate
    is relative to a parameter's own root mean square: other rates than AdamW's.
    """

    decay: Fraction = 0.8  # second moments of step t are kept by 1 - t^-decay
    clip_update: Positive = 1.0
    factored_from: Count = 128  # matrices are factored whose sides are both at least this

    def build(self, steps: int) -> optax.GradientTransformation:
        """The transformation for a stage of ``steps`` steps."""
        own = {"decay": self.decay, "clip_update": self.clip_update}
        return _built(_adafactor, self, steps, own, factored_from=self.factored_from)


class _RateState(NamedTuple):
    """How many updates there were, and the rate of the last."""

    updates: jax.Array
    learning_rate: jax.Array


class _NumbersInState(NamedTuple):
    """The state of the transformations here: the settings that are numbers, and what ``_between`` chains keep."""

    numbers: dict[str, jax.Array]
    inner: Any


_Factory = Callable[..., optax.GradientTransformation]


def _built(
    factory: _Factory, settings: Scheduled, steps: int, own: Mapping[str, float], **constants: Any
) -> optax.GradientTransformation:
    """The transformation that ``factory`` makes of numbers, with a state that starts from those of ``settings``."""
    decay_start = max(steps - max(1, round(settings.decay_share * steps)), min(settings.warmup, steps - 1))
    numbers = {
        **own,
        "peak": settings.learning_rate,
        "warmup": settings.warmup,
        "decay_start": decay_start,
        "decay_steps": steps - decay_start,
        "final_share": settings.final_share if settings.decay_share > 0 else 1.0,
        "weight_decay": settings.weight_decay,
        "clip_norm": settings.clip_norm,
    }

    constants["fall"] = settings.schedule

    def init(params: optax.Params) -> _NumbersInState:
        dtype = optax.tree.dtype(params, "highest")
        arrays = {name: jnp.asarray(value, dtype) for name, value in numbers.items()}
        return _NumbersInState(arrays, factory(**arrays, **constants).init(params))

    return optax.GradientTransformation(init, _shared_update(factory, **constants))


@cache
def _shared_update(factory: _Factory, **constants: Any) -> optax.TransformUpdateFn:
    """The one update of all transformations of a factory; it makes each anew from the numbers in its state.

    Numbers that a function closes over are constants of a compiled program, so each learning rate would compile a step
    of its own. In the state they are arguments. And since programs are found again by the identity of their functions,
    this function is the very same for all settings. ``optax.inject_hyperparams`` gives each transformation another.
    """

    def update(
        updates: optax.Updates, state: Any, params: optax.Params | None = None
    ) -> tuple[optax.Updates, _NumbersInState]:
        change, inner = factory(**state.numbers, **constants).update(updates, state.inner, params)
        return change, _NumbersInState(state.numbers, inner)

    return update


def _adamw(
    beta1: float, beta2: float, epsilon: float, momentum_dtype: str, **common: Any
) -> optax.GradientTransformation:
    kept = None if momentum_dtype == "float32" else momentum_dtype  # None: that of the parameters
    return _between(optax.scale_by_adam(b1=beta1, b2=beta2, eps=epsilon, mu_dtype=kept), **common)


def _muon(momentum: float, beta1: float, beta2: float, epsilon: float, **common: Any) -> optax.GradientTransformation:
    matrices = optax.chain(
        contrib.scale_by_muon(beta=momentum, weight_dimension_numbers=matrix_axes),
        optax.stateless(lambda updates, params: jax.tree.map(_as_large_as_adams, updates, matrix_axes(updates))),
    )
    others = optax.scale_by_adam(b1=beta1, b2=beta2, eps=epsilon)
    return _between(optax.partition({"muon": matrices, "adam": others}, _labels), **common)


def _adafactor(decay: float, clip_update: float, factored_from: int, **common: Any) -> optax.GradientTransformation:
    moments = optax.scale_by_factored_rms(decay_rate=decay, min_dim_size_to_factor=factored_from)
    scaled = (moments, optax.clip_by_block_rms(clip_update), optax.scale_by_param_block_rms())
    return _between(optax.chain(*scaled), **common)


def _between(
    own: optax.GradientTransformation,
    peak: float,
    warmup: float,
    decay_start: float,
    decay_steps: float,
    final_share: float,
    weight_decay: float,
    clip_norm: float,
    fall: Fall,
) -> optax.GradientTransformation:
    """Clip, an optimizer's own scaling, decay, schedule: the order of AdamW with a global clip."""
    return optax.chain(
        optax.clip_by_global_norm(clip_norm),
        own,
        optax.add_decayed_weights(weight_decay, mask=decay_mask),
        _scaled_by_rate(lambda count: scheduled_rate(count, peak, warmup, decay_start, decay_steps, final_share, fall)),
    )


def _scaled_by_rate(rate_of: Callable[[jax.Array], jax.Array]) -> optax.GradientTransformation:
    """As ``optax.scale_by_learning_rate``; the state keeps the last rate, so that a step can tell it."""

    def init(params: optax.Params) -> _RateState:
        return _RateState(jnp.zeros((), jnp.int32), rate_of(jnp.zeros((), jnp.int32)))

    def update(
        updates: optax.Updates, state: Any, params: optax.Params | None = None
    ) -> tuple[optax.Updates, _RateState]:
        rate = rate_of(state.updates)
        scaled = jax.tree.map(lambda leaf: jnp.asarray(-rate, leaf.dtype) * leaf, updates)
        return scaled, _RateState(jnp.asarray(optax.safe_increment(state.updates)), rate)

    return optax.GradientTransformation(init, update)


def learning_rate(state: optax.OptState) -> jax.Array | None:
    """The learning rate of the last update, from an optimizer's state; None where it keeps none, or several.

    Also found in the state of ``optax.inject_hyperparams``, if its factory has a parameter of that name.
    """
    rates = [value for _, value in optax.tree.get_all_with_path(state, "learning_rate")]
    return rates[0] if len(rates) == 1 else None


def scheduled_rate(
    count: ArrayLike,
    peak: ArrayLike,
    warmup: ArrayLike,
    decay_start: ArrayLike,
    decay_steps: ArrayLike,
    final: ArrayLike,
    fall: Fall,
) -> jax.Array:
    """The learning rate of update number ``count`` (from zero): warm-up, then flat, then a fall to ``final * peak``."""
    rising = jnp.minimum(jnp.add(count, 1) / jnp.maximum(warmup, 1.0), 1.0)
    gone = jnp.clip(jnp.subtract(count, decay_start) / decay_steps, 0.0, 1.0)
    fallen = fall(gone)
    check_shape("schedule", fall, fallen, gone.shape)
    return jnp.multiply(peak, rising * (1.0 - fallen * jnp.subtract(1.0, final)))


def decay_mask(params: optax.Params) -> optax.Params:
    """Which leaves weight decay touches: all but norm scales and biases, by name."""
    return jax.tree.map_with_path(lambda path, _: not _name(path[-1]).endswith(_UNDECAYED), params)


def matrix_axes(params: optax.Params) -> optax.Params:
    """Which axes of each leaf are a matrix's inputs and outputs, for Muon; None for what isn't a matrix.

    They are the last axes: those before them count layers and experts, each of whose matrices stands for itself. All
    heads are one matrix. Embeddings and heads are no matrices here, since their rows are looked up, not multiplied.
    """
    return jax.tree.map_with_path(lambda path, leaf: _axes([_name(key) for key in path], leaf.ndim), params)


def _axes(names: list[str], axes: int) -> contrib.MuonDimensionNumbers | None:
    if axes < 2 or names[-1].endswith(_UNDECAYED) or any(name.endswith(("embedding", "head")) for name in names):
        return None
    name, owner = names[-1], names[-2].removesuffix(SUFFIX) if len(names) > 1 and names[-2].endswith(SUFFIX) else None
    inputs, outputs = 1 + ((owner or name) == _OF_HEADS), 1 + ((owner or name) in _BY_HEAD)
    if owner is not None:  # an adapter's two matrices share the axes of the one that they adapt
        inputs, outputs = (inputs, 1) if name == "down" else (1, outputs)
    if inputs + outputs > axes:  # a model of another project, whose names mean something else
        inputs = outputs = 1
    return contrib.MuonDimensionNumbers(tuple(range(-inputs - outputs, -outputs)), tuple(range(-outputs, 0)))


def _as_large_as_adams(update: jax.Array, axes: contrib.MuonDimensionNumbers) -> jax.Array:
    sizes = (prod(update.shape[axis] for axis in np.atleast_1d(side)) for side in axes)
    return _ADAM_RMS * max(sizes) ** 0.5 * update


def _labels(params: optax.Params) -> optax.Params:
    return jax.tree.map_with_path(
        lambda path, leaf: "adam" if _axes([_name(key) for key in path], leaf.ndim) is None else "muon", params
    )


def _name(key: Any) -> str:
    return str(getattr(key, "key", key))
