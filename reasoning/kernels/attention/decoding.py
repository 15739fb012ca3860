"""Who reads a cache for one new token a slot: on TPUs a kernel where the cache is long, else the models' own products.

Shapes: B slots, H query heads, K key/value heads, S cache length, C channels of a key.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
from jax.sharding import Mesh

from reasoning.core.mesh import data_parallel_size, partition
from reasoning.kernels.attention import ragged
from reasoning.kernels.attention.rule import Rule
from reasoning.kernels.backends import Choice, resolved, tpu_of
from reasoning.kernels.pallas_tpu.tiles import TPU

_WORTH = 2 * 2**20
"""Bytes that a device must hold of each slot in a layer. That is four blocks whose copies take longer than beginning a
step does, or nearly (``ragged``), and slots that are filled evenly are then read to 5/8; plain products read all of all
slots once one of them is full. Of less than that there is less to save than to lose."""


@dataclass(frozen=True, eq=False)
class Decoding:
    """Attention of one new token a slot over long caches on ``mesh``, by the kernel for its TPUs."""

    mesh: Mesh | None
    tpu: TPU

    def __str__(self) -> str:
        return f"a ragged kernel over caches of {_WORTH // 2**20} MiB a slot and layer or more"

    def takes(self, leaves: Sequence[Any]) -> bool:
        """Whether a cache of these leaves is long enough to be worth it, and divides over the mesh."""
        slots, key_heads = leaves[0].shape[:2]
        if self.mesh is not None and slots % data_parallel_size(self.mesh):
            return False
        return ragged.slot_bytes(leaves, key_heads // self._shards(key_heads)) >= _WORTH

    def attend(
        self,
        query_BHC: jax.Array,
        leaves: Sequence[jax.Array],
        counts_B: jax.Array,
        rule: Rule,
        sinks_H: jax.Array | None,
    ) -> jax.Array:
        """As ``ragged.attend``, each device its own slots, and its own key heads where the tensor axis divides them.

        Of a single key head, of latents, every device of that axis holds the cache and has some of the query heads.
        """
        kernel = partial(ragged.attend, tpu=self.tpu)
        if self.mesh is None or self.mesh.size == 1:
            return kernel(query_BHC, leaves, counts_B, rule, sinks_H)
        key_heads = leaves[0].shape[1]
        cut = self._shards(key_heads) > 1
        rows, heads = partition(("batch",)), "heads" if cut or key_heads == 1 else None
        held = partition(("batch", "kv_heads")) if cut else rows
        by_head = partition(("batch", heads))

        # Unchecked, since a Pallas kernel's results don't say over which axes they differ.
        @partial(
            jax.shard_map,
            mesh=self.mesh,
            in_specs=(by_head, held, rows, partition((heads,))),
            out_specs=by_head,
            check_vma=False,
        )
        def on_each(query, leaves, counts, sinks):
            return kernel(query, leaves, counts, rule, sinks)

        return on_each(query_BHC, tuple(leaves), counts_B, sinks_H)

    def _shards(self, key_heads: int) -> int:
        """In how many parts a cache's key heads are held, as ``generation.state.state_specs`` has it."""
        shards = 1 if self.mesh is None else self.mesh.shape["tensor"]
        return shards if key_heads % shards == 0 else 1


def decoding_for(choice: Choice, mesh: Mesh | None) -> Decoding | None:
    """What reads long caches on the mesh's devices; None: what reads short ones.

    Raises InputError for a choice that isn't known, for Pallas where there is no TPU, and for a TPU whose memory isn't
    known.
    """
    choice, device = resolved(choice, mesh)
    return None if choice == "chunked" else Decoding(mesh, tpu_of(choice, device))
