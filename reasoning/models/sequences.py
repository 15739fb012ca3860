"""What attention over whole rows reads: rotary cosines and sines, and who attends to whom, for each kind of block.

Shapes: B rows, T time, S length of keys; of rows that begin alike: R groups of G rows, A places that a group shares, N
that each row may have alone, C that a group's rows have alone together, U = A + C, T = A + N.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from reasoning.kernels.attention.backends import Attention
from reasoning.kernels.attention.rule import Rule
from reasoning.models.attend import attend
from reasoning.models.attention import AttentionInputs, SequenceInputs
from reasoning.models.config import BlockKind, ModelConfig, Rope
from reasoning.models.rotary import cos_sin


@dataclass(frozen=True)
class Group:
    """How ``rows`` rows in turn that begin with the same ``shared`` places are laid out as one, which has them once.

    What they share comes first, then what each row has alone, C = G * N. Only attention may need whole rows again, in
    which keys and values of the shared places are repeated: all else that a model computes of a token it computes once.
    """

    rows: int
    shared: int

    def spread(self, own_RC: jax.Array, axis: int = 1) -> jax.Array:
        """From what a group's rows have alone, [R, …, C, …] with C at ``axis``, to places of their own, G * N."""
        return own_RC

    def close(self, own: jax.Array) -> jax.Array:
        """From places of their own, [R, G * N, …], to [R, C, …]."""
        return own

    def apart(self, values: jax.Array, axis: int = 1) -> jax.Array:
        """From [R, …, U, …] with U at ``axis`` to whole rows [B, …, T, …]."""
        begin, rest = jnp.split(values, [self.shared], axis=axis)
        begin = jnp.broadcast_to(begin[:, None], (begin.shape[0], self.rows, *begin.shape[1:]))
        rest = self.spread(rest, axis)
        rest = rest.reshape(*rest.shape[:axis], self.rows, -1, *rest.shape[axis + 1 :])
        whole = jnp.concatenate([begin, jnp.moveaxis(rest, axis, 1)], axis=axis + 1)
        return whole.reshape(-1, *whole.shape[2:])

    def own(self, values_RU: jax.Array) -> jax.Array:
        """From [R, U, …] to what each row has alone, [B, N, …]."""
        return self.of_rows(values_RU[:, self.shared :])

    def of_rows(self, own_RC: jax.Array) -> jax.Array:
        """From [R, C, …] to [B, N, …]."""
        spread = self.spread(own_RC)
        return spread.reshape(spread.shape[0] * self.rows, -1, *spread.shape[2:])

    def of_groups(self, own_BN: jax.Array) -> jax.Array:
        """From [B, N, …] to [R, C, …]."""
        return self.close(own_BN.reshape(own_BN.shape[0] // self.rows, -1, *own_BN.shape[2:]))

    def joined(self, begin_RA: jax.Array, own_BN: jax.Array) -> jax.Array:
        """From what groups share and what rows have alone to [R, U, …]."""
        return jnp.concatenate([begin_RA, self.of_groups(own_BN)], axis=1)

    def together(self, values_BT: jax.Array) -> jax.Array:
        """From whole rows [B, T, …] to [R, U, …], with the shared places of each group's first row."""
        return self.joined(values_BT[:: self.rows, : self.shared], values_BT[:, self.shared :])


@dataclass(frozen=True, eq=False)
class CloseGroup(Group):
    """A group whose rows stand close together, so that a short row leaves its room to the others: C < G * N.

    ``spread_from`` [R, G * N] says where in C each row's places lie, ``close_from`` [R, C] the reverse; both name some
    place where there is nothing, which no one may read. ``row_RC`` is whose each place is; nobody's are G and more.
    """

    spread_from: jax.Array
    close_from: jax.Array
    row_RC: jax.Array

    def spread(self, own_RC: jax.Array, axis: int = 1) -> jax.Array:
        """As ``Group.spread``, by a gather."""
        return _taken(own_RC, self.spread_from, axis)

    def close(self, own: jax.Array) -> jax.Array:
        """As ``Group.close``, by a gather."""
        return _taken(own, self.close_from, 1)

    def segments(self, segments_BT: jax.Array) -> jax.Array:
        """Segments [R, U] in which each row is one of its own, from 2 on, and what all share is 1."""
        begin_RA = segments_BT[:: self.rows, : self.shared] > 0
        return jnp.concatenate([begin_RA.astype(self.row_RC.dtype), self.row_RC + 2], axis=1)

    def order(self) -> jax.Array:
        """Where in a whole row each place [R, U] stands; what is nobody's, where a reply begins."""
        longest = self.spread_from.shape[1] // self.rows
        begin_RA = jnp.broadcast_to(jnp.arange(self.shared), (len(self.row_RC), self.shared))
        within_RC = jnp.where(self.row_RC < self.rows, self.close_from % longest, 0)
        return jnp.concatenate([begin_RA, self.shared + within_RC], axis=1)


def _taken(values: jax.Array, places_RP: jax.Array, axis: int) -> jax.Array:
    """Of each row the values at its places, which are counted along ``axis``."""
    shape = [1] * values.ndim
    shape[0], shape[axis] = places_RP.shape
    return jnp.take_along_axis(values, places_RP.reshape(shape), axis=axis)


def close_group(group: Group, lengths_B: jax.Array, longest: int, places: int) -> CloseGroup:
    """``group`` laid out in ``places`` for rows that have ``lengths_B`` of ``longest`` places alone.

    A group's rows must not have more than ``places`` together.
    """
    lengths_RG = lengths_B.reshape(-1, group.rows)
    ends_RG = jnp.cumsum(lengths_RG, axis=1)
    starts_RG = ends_RG - lengths_RG
    spread_RGN = jnp.clip(starts_RG[..., None] + jnp.arange(longest), 0, places - 1)
    place_C = jnp.arange(places)
    row_RC = jnp.sum(place_C[:, None] >= ends_RG[:, None, :], axis=2)
    # Each place that is nobody's by itself, so that none of them reads the others.
    row_RC = jnp.where(row_RC == group.rows, group.rows + place_C, row_RC)
    some_RC = jnp.minimum(row_RC, group.rows - 1)
    within_RC = jnp.clip(place_C - jnp.take_along_axis(starts_RG, some_RC, axis=1), 0, longest - 1)
    spread_from, close_from = spread_RGN.reshape(len(lengths_RG), -1), some_RC * longest + within_RC
    return CloseGroup(group.rows, group.shared, spread_from, close_from, row_RC)


def attention_inputs(
    config: ModelConfig, positions_BT: jax.Array, mask_BTS: jax.Array, distance_BTS: jax.Array
) -> Callable[[BlockKind], AttentionInputs]:
    """Rotary cosines and sines, and the mask, of each kind of block; equal ones are made once for all layers.

    ``mask_BTS`` says which keys a query may read where there is no window, ``distance_BTS`` how far back each key lies.
    """
    rotary = rotary_of(config, positions_BT)
    windows: dict[int, jax.Array] = {0: mask_BTS}
    for kind in config.kinds():
        if kind.window not in windows:
            windows[kind.window] = mask_BTS & (distance_BTS < kind.window)
    return lambda kind: AttentionInputs(rotary(kind), windows[kind.window])


def rotary_of(
    config: ModelConfig, positions_BT: jax.Array, *, unrolled: bool = False
) -> Callable[[BlockKind], jax.Array]:
    """Cosines and sines of positions, of each kind of block; equal ones are made once.

    Where layers are ``unrolled`` nothing else keeps XLA from making them anew in whatever reads them.
    """
    ropes: dict[Rope, jax.Array] = {}
    for kind in config.kinds():
        rope = kind.rope or config.rope
        if rope not in ropes:
            made = cos_sin(positions_BT, rope, config.rotary_size)
            ropes[rope] = jax.lax.optimization_barrier(made) if unrolled else made
    return lambda kind: ropes[kind.rope or config.rope]


@dataclass(frozen=True)
class Texts:
    """Rows that are texts which begin alike: where in its own each token stands, and sizes as ``Rule`` has them."""

    order_BT: jax.Array
    shared: int
    alone: int


def packed_inputs(
    config: ModelConfig,
    kernel: Attention,
    positions_BT: jax.Array,
    segments_BT: jax.Array,
    texts: Texts | None = None,
) -> Callable[[BlockKind], SequenceInputs]:
    """Of packed rows: a query reads its own and earlier keys of its own segment, and what all its ``texts`` share."""
    if positions_BT.shape[1] <= kernel.short:
        return _short_inputs(config, positions_BT, segments_BT, texts)
    rotary = rotary_of(config, positions_BT)
    shared, alone, extra = (0, 0, ()) if texts is None else (texts.shared, texts.alone, (texts.order_BT,))

    def inputs_of(kind: BlockKind) -> SequenceInputs:
        rule = Rule(config.score_scale, config.attention_soft_cap or None, kind.window, shared, alone)
        return SequenceInputs(
            rotary(kind),
            lambda query, key, value, sinks: kernel.attend(query, key, value, segments_BT, rule, sinks, *extra),
        )

    return inputs_of


def grouped_inputs(
    config: ModelConfig, kernel: Attention, positions_RU: jax.Array, segments_BT: jax.Array, group: Group
) -> Callable[[BlockKind], SequenceInputs]:
    """Of rows that begin alike, each attending to what ``packed_inputs`` would let it."""
    shared, alone = group.shared, segments_BT.shape[1] - group.shared
    if isinstance(group, CloseGroup) and kernel.branches(group.rows, shared, alone, positions_RU.shape[1]):
        texts = Texts(group.order(), shared, alone)
        return packed_inputs(config, kernel, positions_RU, group.segments(segments_BT), texts)
    rotary = rotary_of(config, positions_RU)
    if segments_BT.shape[1] <= kernel.short:
        return _short_grouped_inputs(config, positions_RU, segments_BT, group)
    whole = packed_inputs(config, kernel, group.apart(positions_RU), segments_BT)

    def inputs_of(kind: BlockKind) -> SequenceInputs:
        rows = whole(kind)

        def attend_rows(query: jax.Array, key: jax.Array, value: jax.Array, sinks: jax.Array | None) -> jax.Array:
            mixed = rows.attend(group.apart(query), group.apart(key, 2), group.apart(value, 2), sinks)
            return group.together(mixed)

        return SequenceInputs(rotary(kind), attend_rows)

    return inputs_of


def _masked(
    config: ModelConfig, positions_BT: jax.Array, segments_BT: jax.Array, texts: Texts | None = None
) -> Callable[[BlockKind], AttentionInputs]:
    places_T = jnp.arange(positions_BT.shape[1])
    order_BT, shared = (places_T[None], 0) if texts is None else (texts.order_BT, texts.shared)
    distance_BTT = order_BT[:, :, None] - order_BT[:, None, :]
    together_BTT = Rule(config.score_scale, shared=shared).together(segments_BT, segments_BT, places_T)
    return attention_inputs(config, positions_BT, (distance_BTT >= 0) & together_BTT, distance_BTT)


def _short_inputs(
    config: ModelConfig, positions_BT: jax.Array, segments_BT: jax.Array, texts: Texts | None
) -> Callable[[BlockKind], SequenceInputs]:
    """Of rows so short that all scores are made at once."""
    masked = _masked(config, positions_BT, segments_BT, texts)

    def inputs_of(kind: BlockKind) -> SequenceInputs:
        inputs = masked(kind)
        return SequenceInputs(
            inputs.cos_sin_2BTh,
            lambda query, key, value, sinks: attend(query, key, value, inputs.mask_BTS, config, sinks),
        )

    return inputs_of


def _short_grouped_inputs(
    config: ModelConfig, positions_RU: jax.Array, segments_BT: jax.Array, group: Group
) -> Callable[[BlockKind], SequenceInputs]:
    """As ``_short_inputs``, the scores of shared places once."""
    rotary, masked = rotary_of(config, positions_RU), _masked(config, group.apart(positions_RU), segments_BT)

    def inputs_of(kind: BlockKind) -> SequenceInputs:
        mask_BTT, shared = masked(kind).mask_BTS, group.shared

        def attend_parts(query: jax.Array, key: jax.Array, value: jax.Array, sinks: jax.Array | None) -> jax.Array:
            begin_mask = mask_BTT[:: group.rows, :shared, :shared]
            begin = attend(query[:, :shared], key[:, :, :shared], value[:, :, :shared], begin_mask, config, sinks)
            keys, values = group.apart(key, 2), group.apart(value, 2)
            own = attend(group.own(query), keys, values, mask_BTT[:, shared:], config, sinks)
            return group.joined(begin, own)

        return SequenceInputs(rotary(kind), attend_parts)

    return inputs_of
