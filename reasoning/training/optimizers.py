"""Optimizers and learning-rate schedules, as settings that build optax transformations."""

from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from reasoning.core.ranges import Fraction, Index, NonNegative, Positive

UNDECAYED = ("scale", "bias")


@dataclass(frozen=True)
class AdamW:
    """AdamW (arXiv 1711.05101) behind a clip of the global norm, with warm-up and an optional linear decay at the end.

    Norm scales and biases are not decayed. The settings live as arrays in the optimizer's state, so that stages which
    differ in them only share one compiled step: all transformations have the very same ``update``.
    """

    learning_rate: Positive
    warmup: Index = 0  # steps of linear warm-up
    decay_share: Fraction = 0.0  # the last share of all steps, over which the rate falls linearly …
    final_share: Fraction = 0.0  # … to this share of learning_rate
    beta1: Fraction = 0.9
    beta2: Fraction = 0.95
    epsilon: Positive = 1e-8
    weight_decay: NonNegative = 0.0
    clip_norm: Positive = 1.0

    def build(self, steps: int) -> optax.GradientTransformation:
        """The transformation for a stage of ``steps`` steps."""
        decay_steps = max(1, round(self.decay_share * steps))
        final = self.final_share if self.decay_share > 0 else 1.0
        own = optax.inject_hyperparams(adamw_with_schedule)(
            peak=float(self.learning_rate),
            warmup=float(self.warmup),
            decay_start=float(steps - decay_steps),
            decay_steps=float(decay_steps),
            final_share=float(final),
            beta1=float(self.beta1),
            beta2=float(self.beta2),
            epsilon=float(self.epsilon),
            weight_decay=float(self.weight_decay),
            clip_norm=float(self.clip_norm),
        )
        return optax.GradientTransformation(own.init, shared_update())


@cache
def shared_update() -> optax.TransformUpdateFn:
    """The update of every AdamW; it reads all settings from the state, and none of those that stand here."""
    names = ("peak", "warmup", "decay_start", "decay_steps", "final_share", "beta1", "beta2", "epsilon")
    nothing = dict.fromkeys((*names, "weight_decay", "clip_norm"), 0.0)
    return optax.inject_hyperparams(adamw_with_schedule)(**nothing).update


def rate(
    count: ArrayLike,
    peak: ArrayLike,
    warmup: ArrayLike,
    decay_start: ArrayLike,
    decay_steps: ArrayLike,
    final: ArrayLike,
) -> jax.Array:
    """The learning rate of update number ``count`` (from zero): warm-up, then flat, then linear to ``final * peak``."""
    rising = jnp.minimum(jnp.add(count, 1) / jnp.maximum(warmup, 1.0), 1.0)
    gone = jnp.clip(jnp.subtract(count, decay_start) / decay_steps, 0.0, 1.0)
    return jnp.multiply(peak, rising * (1.0 - gone * jnp.subtract(1.0, final)))


def decayed(params: optax.Params) -> optax.Params:
    """Which leaves weight decay touches: all but norm scales and biases, by name."""
    return jax.tree.map_with_path(
        lambda path, _: not str(getattr(path[-1], "key", path[-1])).endswith(UNDECAYED), params
    )


def adamw_with_schedule(
    peak: float,
    warmup: float,
    decay_start: float,
    decay_steps: float,
    final_share: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    weight_decay: float,
    clip_norm: float,
) -> optax.GradientTransformation:
    """Clip, Adam, decay, schedule: the order of AdamW with a global clip."""
    return optax.chain(
        optax.clip_by_global_norm(clip_norm),
        optax.scale_by_adam(b1=beta1, b2=beta2, eps=epsilon),
        optax.add_decayed_weights(weight_decay, mask=decayed),
        optax.scale_by_schedule(lambda count: -rate(count, peak, warmup, decay_start, decay_steps, final_share)),
    )
