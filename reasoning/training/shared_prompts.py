"""Replies to the same prompt, read with that prompt once, and scored nowhere but where a reply's token is predicted.

Of G replies of N tokens to a prompt of A a model computes A + G * N tokens instead of G * (A + N), and the head G * N.

Shapes: B rows, R groups of G rows, A places of a prompt, N of a reply, U = A + G * N, T row time, S = A + N.
"""

import math
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from reasoning.core import mesh as meshes
from reasoning.models.model import LanguageModel, Model
from reasoning.models.sequences import Group
from reasoning.training.batches import TokenBatch

_WORTH = 0.95
"""The share of a batch's places that must be left for sharing to be worth its copies of keys and values."""


@dataclass(frozen=True)
class ReplyGroups:
    """What a stage knows of its rows beforehand: as many in turn as there are ``samples`` reply to the same prompt.

    No prompt is longer than ``longest_prompt``, and no reply than ``max_new_tokens``.
    """

    samples: int
    longest_prompt: int
    max_new_tokens: int

    def layout(self, model: LanguageModel, rows: int, time: int) -> "Layout | None":
        """How a batch, or a microbatch, of so many rows of a global batch is laid out; None where it stays as it is.

        So it does where rows of one prompt aren't on one device, where nothing is gained, with experts, whose load is
        told of whole rows, and where a row's time is split.
        """
        if not isinstance(model, Model) or any(kind.moe is not None for kind in model.config.kinds()):
            return None
        mesh = model.mesh
        devices = 1 if mesh is None else meshes.data_parallel_size(mesh)
        split = mesh is not None and mesh.shape["context"] > 1
        group = math.gcd(self.samples, rows // devices)
        prompt, reply = min(self.longest_prompt, time - 1), min(self.max_new_tokens, time - 1)
        if split or rows % devices or prompt + group * reply > _WORTH * group * time:
            return None
        return Layout(Group(group, prompt), reply)


def computed_places(
    groups: ReplyGroups | None, model: LanguageModel, rows: int, time: int, microbatches: int = 1
) -> int:
    """How many places a model computes for so many rows of a global batch, padding included."""
    layout = None if groups is None else groups.layout(model, rows // microbatches, time)
    return rows * time if layout is None else rows // layout.group.rows * layout.tokens


@dataclass(frozen=True)
class Layout:
    """Rows whose prompts end, and whose replies begin, in the same place, and which groups of rows share."""

    group: Group
    reply: int

    @property
    def tokens(self) -> int:
        """How many places a model computes for a group."""
        return self.group.shared + self.group.rows * self.reply

    def read(self, rows: TokenBatch, first_B: jax.Array) -> TokenBatch:
        """Rows as the model reads them: tokens and positions [R, U], segments [B, S], targets [B, N].

        ``first_B`` is where each row's reply begins. A prompt ends where the replies begin, so that a window, which is
        counted in places, holds the same tokens.
        """
        shared, time = self.group.shared, rows.tokens.shape[1]
        from_BS = first_B[:, None] + jnp.arange(-shared, self.reply)
        places_BS = jnp.clip(from_BS, 0, time - 1)

        def taken(values_BT: jax.Array, at: jax.Array = places_BS) -> jax.Array:
            return jnp.take_along_axis(values_BT, at, axis=1)

        inside_BS = (taken(rows.segments) > 0) & (from_BS == places_BS)
        # What is before a prompt and what is behind a reply are segments of their own.
        around_S = jnp.where(jnp.arange(shared + self.reply) < shared, 0, 2)
        return replace(
            rows,
            tokens=self.group.together(jnp.where(inside_BS, taken(rows.tokens), 0)),
            positions=self.group.together(jnp.where(inside_BS, taken(rows.positions), 0)),
            segments=jnp.where(inside_BS, 1, around_S),
            targets=taken(rows.targets, jnp.clip(from_BS[:, shared:] - 1, 0, time - 1)),
        )

    def predicting(self, hidden_RUD: jax.Array) -> jax.Array:
        """The states [B, N, D] that predict the tokens of replies; the first is the prompt's last."""
        shared = self.group.shared
        last_RD = hidden_RUD[:, shared - 1]
        last_B1D = jnp.repeat(last_RD, self.group.rows, axis=0, total_repeat_length=len(last_RD) * self.group.rows)
        return jnp.concatenate([last_B1D[:, None], self.group.own(hidden_RUD)[:, :-1]], axis=1)

    def back(self, values_BN: jax.Array, first_B: jax.Array, time: int) -> jax.Array:
        """Values of replies' tokens at the places [B, T] that predict them; 0 elsewhere."""
        from_BT = jnp.arange(time) - (first_B[:, None] - 1)
        held_BT = jnp.clip(from_BT, 0, self.reply - 1)
        return jnp.where(from_BT == held_BT, jnp.take_along_axis(values_BN, held_BT, axis=1), 0.0)


def first_of_replies(replies_BT: jax.Array) -> jax.Array:
    """Where each row's reply begins, [B]."""
    return jnp.argmax(replies_BT > 0, axis=1)
