"""From sampled completions and their rewards to the batch of a policy-gradient step.

Shapes: P prompts, G samples a prompt, B = P * G rows, N new tokens, T row time.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reasoning.core.buckets import padded_length
from reasoning.core.mesh import largest_of_all_processes
from reasoning.core.user_code import check_shape
from reasoning.generation.engine import Rollouts
from reasoning.training.batches import Aggregation, PolicyBatch, TokenBatch, token_batch

Advantage = Callable[[jax.Array], jax.Array]
"""From rewards [P, G] to advantages [P, G]."""

Selection = Callable[[jax.Array], jax.Array]
"""From rewards [P, G] to the groups [P] that are learnt from."""


def policy_rows(
    prompts: Sequence[Sequence[int]], rollouts: Rollouts, limit: int, lengths: Sequence[int]
) -> dict[str, np.ndarray]:
    """Rows [B, T] of prompt and completion, one a row, padded on the right to one of a few lengths.

    ``limit`` is how long a row can get, ``lengths`` are as ``core.buckets`` takes them. Every process gets the same T,
    so that one program serves all. ``replies`` is 1 on the completion, where the loss falls, too, and whose tokens have
    the sampler's ``log_probs``; the last token, which holds the end, is included, also where it holds other text too.
    """
    samples = rollouts.tokens.shape[1]
    starts_P = np.array([len(prompt) for prompt in prompts])
    ends_PG1 = (starts_P[:, None] + rollouts.lengths)[..., None]
    longest = largest_of_all_processes(int(ends_PG1.max()))
    time = padded_length(longest, lengths, limit)
    tokens_PGT = np.zeros((len(prompts), samples, time), np.int32)
    log_probs_PGT = np.zeros(tokens_PGT.shape, np.float32)
    for number, (prompt, start) in enumerate(zip(prompts, starts_P, strict=True)):
        end = min(start + rollouts.tokens.shape[-1], time)
        tokens_PGT[number, :, :start] = prompt
        tokens_PGT[number, :, start:end] = rollouts.tokens[number, :, : end - start]
        log_probs_PGT[number, :, start:end] = rollouts.log_probs[number, :, : end - start]
    places_T = np.arange(time)
    inside = places_T < ends_PG1
    completion = inside & (places_T >= starts_P[:, None, None])
    flat = (len(prompts) * samples, time)
    return {
        "tokens": (tokens_PGT * inside).reshape(flat),
        "positions": np.broadcast_to(places_T, flat).astype(np.int32),
        "segments": inside.reshape(flat).astype(np.int32),
        "loss_mask": completion.reshape(flat).astype(np.int32),
        "replies": completion.reshape(flat).astype(np.int32),
        "log_probs": np.where(completion, log_probs_PGT, 0).reshape(flat),
    }


def every_group(rewards_PG: jax.Array) -> jax.Array:
    """Learns from every group, also from those whose rewards are all equal; the GRPO of arXiv 2402.03300."""
    return jnp.ones(rewards_PG.shape[0], bool)


def selected_groups(select: Selection, rewards_PG: np.ndarray) -> np.ndarray:
    """Which groups [P] ``select`` takes. Raises InputError where it gives something else."""
    selected_P = select(jnp.float32(rewards_PG))
    check_shape("select", select, selected_P, rewards_PG.shape[:1])
    return np.asarray(selected_P)


def never_learns(advantage: Advantage, select: Selection, samples: int) -> bool:
    """Whether groups of ``samples`` teach nothing whatever their rewards are: asked of groups of one completion alone.

    A larger group has rewards that differ; what a user's function makes of them can't be asked exhaustively.
    """
    if samples > 1:
        return False
    sizes = 10.0 ** np.arange(-3, 4)
    rewards_PG = jnp.asarray(np.concatenate([-sizes, [0.0], sizes])[:, None], jnp.float32)
    return not bool(jnp.any(jnp.where(select(rewards_PG)[:, None], advantage(rewards_PG), 0) != 0))


def assemble(
    rows: dict[str, jax.Array],
    rewards_B: jax.Array,
    *,
    samples: int,
    advantage: Advantage,
    select: Selection,
    aggregate: Aggregation,
    length: int,
    kl_select: Selection | None = None,
) -> PolicyBatch:
    """The batch of the whole, global set of rows; run it inside jit, before any split into microbatches.

    ``rows`` are those of ``policy_rows``. Groups that ``select`` leaves out lose their mask, so their tokens are in no
    denominator that counts tokens or rows with tokens; ``constant_length`` counts all rows (arXiv 2503.20783).
    ``kl_select`` gives the KL term groups, and so weights, of its own.
    """
    rewards_PG = rewards_B.reshape(-1, samples)

    def learnt_from(groups: Selection) -> TokenBatch:
        selected_P = groups(rewards_PG)
        check_shape("select", groups, selected_P, rewards_PG.shape[:1])
        selected_B = jnp.repeat(selected_P, samples, total_repeat_length=rewards_B.shape[0])
        return token_batch({**rows, "loss_mask": rows["loss_mask"] * selected_B[:, None]}, aggregate, length)

    batch = learnt_from(select)
    advantages_B = _advantages(advantage, rewards_PG)
    return PolicyBatch(
        rows=batch,
        advantages=jnp.broadcast_to(advantages_B[:, None], batch.tokens.shape),
        sampler_log_probs=jnp.roll(rows["log_probs"], -1, axis=1) * batch.mask,
        old_log_probs=None,
        reference_log_probs=None,
        kl_weights=None if kl_select is None else learnt_from(kl_select).weights,
    )


def _advantages(advantage: Advantage, rewards_PG: jax.Array) -> jax.Array:
    advantages_PG = advantage(rewards_PG)
    check_shape("advantage", advantage, advantages_PG, rewards_PG.shape)
    return jnp.asarray(advantages_PG).reshape(-1)


def assemble_minibatches(
    rows: dict[str, jax.Array], rewards_B: jax.Array, *, parts: int, samples: int, advantage: Advantage, **settings: Any
) -> tuple[PolicyBatch, ...]:
    """The ``parts`` minibatches of the global set of rows, each with denominators of its own; run it inside jit.

    Groups are dealt out in turn, so that each device keeps a share of every part. Advantages are those of the whole
    set; ``settings`` are further ones of ``assemble``.
    """
    advantages_B = _advantages(advantage, rewards_B.reshape(-1, samples))

    def part(values: jax.Array, number: int) -> jax.Array:
        groups = values.reshape(-1, parts, samples, *values.shape[1:])[:, number]
        return groups.reshape(-1, *values.shape[1:])

    def batch(number: int) -> PolicyBatch:
        own_PG = part(advantages_B, number).reshape(-1, samples)
        own = {name: part(values, number) for name, values in rows.items()}
        return assemble(own, part(rewards_B, number), samples=samples, advantage=lambda rewards: own_PG, **settings)

    return tuple(batch(number) for number in range(parts))


def of_whole(minibatches: Sequence[np.ndarray], samples: int) -> np.ndarray:
    """Rows of minibatches in the order of the rows that ``assemble_minibatches`` dealt out."""
    groups = [rows.reshape(-1, samples, *rows.shape[1:]) for rows in minibatches]
    return np.stack(groups, axis=1).reshape(-1, *minibatches[0].shape[1:])
