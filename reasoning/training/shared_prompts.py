"""Replies to the same prompt, read with that prompt once, and scored nowhere but where a reply's token is predicted.

Of G replies of N tokens to a prompt of A a model computes A + G * N tokens instead of G * (A + N), and the head G * N.
Where replies are shorter they stand close together, and both compute C instead of G * N.

Shapes: B rows, R groups of G rows, A places of a prompt, N of a reply, C of a group's replies, U = A + C, T row time,
S = A + N.
"""

import math
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np

from reasoning.core import mesh as meshes
from reasoning.models.model import LanguageModel, Model
from reasoning.models.sequences import Group, close_group
from reasoning.training.batches import Batch, TokenBatch, rows_of, with_room

_WORTH = 0.95
"""The share of a batch's places that must be left for sharing to be worth its copies of keys and values."""

_ROOMS = {0.5: 64, 0.25: 256, 0.75: 256}
"""The room that replies are given where it suffices, as shares of the longest, in stages of so many updates or more.

Each is a program of its own, whose compiling pays after some 20 updates of ten million parameters, and after more than
a hundred of a tenth of a million.
"""


@dataclass(frozen=True)
class ReplyGroups:
    """What a stage knows of its rows beforehand: as many in turn as there are ``samples`` reply to the same prompt.

    No prompt is longer than ``longest_prompt``, and no reply than ``max_new_tokens``. ``rooms`` are the shares of that
    which a batch's replies may be given (``in_room``); programs don't depend on how many there are to choose from.
    """

    samples: int
    longest_prompt: int
    max_new_tokens: int
    rooms: tuple[float, ...] = field(default=(), compare=False)

    def for_updates(self, count: int) -> "ReplyGroups":
        """With the rooms that are worth their compiling in so many updates."""
        return replace(self, rooms=tuple(sorted(share for share, least in _ROOMS.items() if count >= least)))

    def layout(self, model: LanguageModel, rows: int, time: int, room: int | None = None) -> "Layout | None":
        """How a batch, or a microbatch, of so many rows of a global batch is laid out; None where it stays as it is.

        ``room`` is that of ``TokenBatch``. A batch stays as it is where rows of one prompt aren't on one device, where
        nothing is gained, with experts, whose load is told of whole rows, and where a row's time is split.
        """
        if not shareable(model):
            return None
        mesh = model.mesh
        devices = 1 if mesh is None else meshes.data_parallel_size(mesh)
        split = mesh is not None and mesh.shape["context"] > 1
        group = math.gcd(self.samples, rows // devices)
        prompt, reply = min(self.longest_prompt, time - 1), min(self.max_new_tokens, time - 1)
        places = group * (reply if room is None else min(room, reply))
        if split or rows % devices or prompt + places > _WORTH * group * time:
            return None
        return Layout(Group(group, prompt), reply, places)

    def in_room(self, batch: Batch, model: LanguageModel, lengths_B: np.ndarray, microbatches: int = 1) -> Batch:
        """A batch, or one of minibatches, with the room that this step's replies, of ``lengths_B`` tokens, need."""
        rows, time = rows_of(batch).tokens.shape
        return with_room(batch, self.room(model, lengths_B, rows // microbatches, time))

    def room(self, model: LanguageModel, lengths_B: np.ndarray, rows: int, time: int) -> int | None:
        """The ``room`` of a batch whose replies have ``lengths_B`` tokens, that is given to models by ``rows`` rows.

        One of few, so that there are few programs, or None for all that they may need; the same for all processes.
        """
        # Rows may be worth sharing with a room that aren't worth it where each reply is as long as they let it be.
        reply = min(self.max_new_tokens, time - 1)
        layouts = {
            room: self.layout(model, rows, time, room) for room in (math.ceil(reply * each) for each in self.rooms)
        }
        group = next((layout.group.rows for layout in layouts.values() if layout is not None), None)
        if group is None:
            return None
        taken_R = lengths_B.reshape(-1, math.gcd(group, len(lengths_B))).mean(axis=1)
        needed = meshes.largest_of_all_processes(math.ceil(taken_R.max()))
        return min((room for room, layout in layouts.items() if layout is not None and room >= needed), default=None)


def shareable(model: LanguageModel) -> bool:
    """Whether a model can read rows that begin alike; experts, whose load is told of whole rows, and users' can't."""
    return isinstance(model, Model) and all(kind.moe is None for kind in model.config.kinds())


def computed_places(
    groups: ReplyGroups | None,
    model: LanguageModel,
    rows: int,
    time: int,
    microbatches: int = 1,
    room: int | None = None,
) -> int:
    """How many places a model computes for so many rows of a global batch, padding included."""
    layout = None if groups is None else groups.layout(model, rows // microbatches, time, room)
    return rows * time if layout is None else rows // layout.group.rows * layout.tokens


@dataclass(frozen=True)
class Layout:
    """Rows whose prompts end, and whose replies begin, in the same place, and which groups of rows share.

    A reply has at most ``reply`` tokens, those of a group at most ``places`` together.
    """

    group: Group
    reply: int
    places: int

    @property
    def tokens(self) -> int:
        """How many places a model computes for a group."""
        return self.group.shared + self.places

    def read(self, rows: TokenBatch, replies_BT: jax.Array) -> "Read":
        """Rows as the model reads them; ``replies_BT`` is 1 on replies.

        A prompt ends where the replies begin, so that a window, which is counted in places, holds the same tokens.
        """
        shared, time = self.group.shared, rows.tokens.shape[1]
        first_B, lengths_B = jnp.argmax(replies_BT > 0, axis=1), jnp.sum(replies_BT > 0, axis=1)
        group = self.group
        if self.places < group.rows * self.reply:
            group = close_group(group, lengths_B, self.reply, self.places)
        from_BS = first_B[:, None] + jnp.arange(-shared, self.reply)
        places_BS = jnp.clip(from_BS, 0, time - 1)

        def taken(values_BT: jax.Array, at: jax.Array = places_BS) -> jax.Array:
            return jnp.take_along_axis(values_BT, at, axis=1)

        inside_BS = (taken(rows.segments) > 0) & (from_BS == places_BS)
        # What is before a prompt and what is behind a reply are segments of their own.
        around_S = jnp.where(jnp.arange(shared + self.reply) < shared, 0, 2)
        own_BN = jnp.broadcast_to(jnp.arange(self.reply), (len(first_B), self.reply))
        read = replace(
            rows,
            tokens=group.together(jnp.where(inside_BS, taken(rows.tokens), 0)),
            positions=group.together(jnp.where(inside_BS, taken(rows.positions), 0)),
            segments=jnp.where(inside_BS, 1, around_S),
            targets=group.of_groups(taken(rows.targets, jnp.clip(from_BS[:, shared:] - 1, 0, time - 1))),
        )
        return Read(read, group, first_B, lengths_B, group.of_groups(own_BN) == 0)


@dataclass(frozen=True, eq=False)
class Read:
    """A batch as a model reads it: tokens and positions [R, U], segments [B, S], targets [R, C].

    ``first_B`` is where each row's reply begins, ``begins_RC`` which places hold a reply's first token.
    """

    rows: TokenBatch
    group: Group
    first_B: jax.Array
    lengths_B: jax.Array
    begins_RC: jax.Array

    def predicting(self, hidden_RUD: jax.Array) -> jax.Array:
        """The states [R, C, D] that predict the tokens of replies; the first is the prompt's last."""
        shared = self.group.shared
        return jnp.where(self.begins_RC[..., None], hidden_RUD[:, shared - 1, None], hidden_RUD[:, shared - 1 : -1])

    def back(self, values_RC: jax.Array, time: int) -> jax.Array:
        """Values of replies' tokens at the places [B, T] that predict them; 0 elsewhere."""
        values_BN = self.group.of_rows(values_RC)
        from_BT = jnp.arange(time) - (self.first_B[:, None] - 1)
        held_BT = jnp.clip(from_BT, 0, values_BN.shape[1] - 1)
        inside_BT = (from_BT >= 0) & (from_BT < self.lengths_B[:, None])
        return jnp.where(inside_BT, jnp.take_along_axis(values_BN, held_BT, axis=1), 0.0)
