"""Beam search: the likeliest completions, found by keeping several hypotheses at once, in one jitted program.

Shapes: P prompts, K beams, B = P * K slots, T prompt time, N new tokens, D model width, V vocabulary.
Where beams are in groups, each group of each prompt is searched as if it were a prompt of its own, with its own K.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from reasoning.core import mesh as meshes
from reasoning.core.errors import InputError
from reasoning.generation.engine import Rollouts, decode_shardings, rows_multiple
from reasoning.generation.few_slots import head_product
from reasoning.generation.padding import padded, shapes_of
from reasoning.generation.reading import read_prompts
from reasoning.models.cache import Cache, Weights
from reasoning.models.decoder import soft_capped
from reasoning.models.model import LanguageModel

SEARCHING = "searching"
"""The scope of the loop that turns once a token."""


@dataclass(frozen=True)
class BeamSettings:
    """What is static about a search; names and meaning are those of transformers' ``generate``.

    A finished completion scores its summed log-probability / (its length, end symbol included) ** ``length_penalty``.
    ``early_stopping``: True stops when K have finished; False when, moreover, the best hypothesis, scored as if it
    ended now, is no better than the worst of them; "never" scores it as if it grew to the limit without loss.
    ``longest_prompt`` is that of ``SamplerSettings``.

    Beams in several ``groups`` are searched side by side, each by itself, one after another at each token, which a
    group takes at ``diversity_penalty`` nats for each beam of an earlier group that goes on with the same one: diverse
    beam search with Hamming diversity (Vijayakumar et al., arXiv 1610.02424, algorithm 1). What was paid isn't carried
    on, so scores stay log-probabilities. Without a penalty all groups would find the same; all beams are one then.
    Raises InputError for groups that don't divide the beams, and for a penalty below 0.
    """

    beams: int
    max_new_tokens: int
    end_ids: tuple[int, ...]
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    longest_prompt: int = 0
    groups: int = 1
    diversity_penalty: float = 0.0

    def __post_init__(self) -> None:
        if self.groups < 1 or self.beams % self.groups:
            raise InputError(
                f"{self.beams} beams can't be in {self.groups} groups, each of as many; make beams a multiple of groups"
            )
        if not 0 <= self.diversity_penalty < math.inf:
            raise InputError(f"a diversity_penalty of {self.diversity_penalty} isn't a finite number from 0 up")


def _grouped(settings: BeamSettings) -> tuple[int, BeamSettings]:
    """How many groups are searched, and what one of them is by itself."""
    groups = settings.groups if settings.diversity_penalty else 1
    return groups, replace(settings, beams=settings.beams // groups, groups=1, diversity_penalty=0.0)


@struct.dataclass
class FinishedBeams:
    """Finished completions, best first; ``scores`` is -inf, and ``lengths`` 0, in places that are still empty."""

    tokens: Int[Array, "P K N"]
    log_probs: Float[Array, "P K N"]
    lengths: Int[Array, "P K"]
    truncated: Bool[Array, "P K"]
    scores: Float[Array, "P K"]


@struct.dataclass
class _BeamState:
    """The state of the loop: K hypotheses a prompt with their summed log-probabilities, and what has finished."""

    index: jax.Array
    hidden: Float[Array, "B D"]
    cache: Cache
    tokens: Int[Array, "P K N"]
    log_probs: Float[Array, "P K N"]
    sums: Float[Array, "P K"]
    finished: FinishedBeams
    open: Bool[Array, " P"]


@dataclass(frozen=True)
class Beams:
    """Completions [P, K, …] of this process's prompts, best first, and their scores [P, K].

    Where there are fewer than K completions (a tiny vocabulary), the rest have length 0 and score -inf.
    """

    rollouts: Rollouts
    scores: np.ndarray


def _pick_beams(tree: Any, beams_PK: jax.Array) -> Any:
    """From leaves [P, K, …], for each prompt the beams named; other prompts' are never touched, nor their devices."""
    return jax.tree.map(lambda leaf: jax.vmap(lambda rows, chosen: rows[chosen])(leaf, beams_PK), tree)


def _candidates(
    log_probs_PKV: jax.Array, sums_PK: jax.Array, end_ids: jax.Array, dearer_PV: jax.Array | None = None
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """2 K continuations of each prompt, as sums, beams, tokens and log-probabilities.

    First the best K, which may finish, then the best K that don't end, which go on; both best first. The two are looked
    for one by one, since a beam can end in thousands of ways where an end is plain text. What is best is told with
    tokens as much ``dearer`` as is said; the sums are without it.
    """
    prompts, beams, vocabulary = log_probs_PKV.shape
    sums_PKV = log_probs_PKV + sums_PK[:, :, None]
    worths_PKV = sums_PKV if dearer_PV is None else sums_PKV - dearer_PV[:, None]
    going_PKV = worths_PKV.at[:, :, end_ids].set(-jnp.inf)
    tops = [jax.lax.top_k(values_PKV.reshape(prompts, -1), beams) for values_PKV in (worths_PKV, going_PKV)]
    sums_PC, places_PC = (jnp.concatenate(both, axis=1) for both in zip(*tops, strict=True))
    log_probs_PC = jnp.take_along_axis(log_probs_PKV.reshape(prompts, -1), places_PC, axis=1)
    if dearer_PV is not None:
        # Of a token that is no way to go on, the worth stays what it is.
        real_PC = jnp.take_along_axis(sums_PKV.reshape(prompts, -1), places_PC, axis=1)
        sums_PC = jnp.where(sums_PC > -jnp.inf, real_PC, sums_PC)
    return sums_PC, places_PC // vocabulary, (places_PC % vocabulary).astype(jnp.int32), log_probs_PC


def _diverse_candidates(
    log_probs_PKV: jax.Array, now: "_BeamState", end_ids: jax.Array, groups: int, penalty: float
) -> tuple[jax.Array, ...]:
    """``_candidates`` of groups, one after another; the rows of one prompt's groups stand together."""
    beams, vocabulary = log_probs_PKV.shape[1:]

    def of(rows: jax.Array, group: int) -> jax.Array:
        return rows.reshape(-1, groups, *rows.shape[1:])[:, group]

    said_PV = jnp.zeros((len(log_probs_PKV) // groups, vocabulary))
    found: list[tuple[jax.Array, ...]] = []
    for group in range(groups):
        log_probs, sums, is_open = (of(rows, group) for rows in (log_probs_PKV, now.sums, now.open))
        found.append(_candidates(log_probs, sums, end_ids, penalty * said_PV))
        going_PK = jnp.where(
            is_open[:, None], found[-1][2][:, beams:], vocabulary
        )  # a search that is over says nothing
        said_PV += jax.nn.one_hot(going_PK, vocabulary).sum(axis=1)
    return tuple(jnp.stack(each, axis=1).reshape(-1, 2 * beams) for each in zip(*found, strict=True))


def _finish(settings: BeamSettings, now: _BeamState, new: FinishedBeams, ends_PC: jax.Array) -> FinishedBeams:
    """The K best that have finished after this step; of equals, those that finished first.

    Of the candidates only the best K, the first, may finish, and only where the search is still open. ``new`` holds the
    candidates, its ``scores`` their summed log-probabilities.
    """
    among_best_C = jnp.arange(ends_PC.shape[1]) < settings.beams
    may_PC = ends_PC & among_best_C & now.open[:, None]
    scores_PC = jnp.where(may_PC, new.scores / new.lengths.astype(jnp.float32) ** settings.length_penalty, -jnp.inf)
    lengths_PC = jnp.where(scores_PC > -jnp.inf, new.lengths, 0)
    new = replace(new, scores=scores_PC, lengths=lengths_PC)
    both: FinishedBeams = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1), now.finished, new)
    _, chosen = jax.lax.top_k(both.scores, settings.beams)
    return _pick_beams(both, chosen)


def _still_open(settings: BeamSettings, finished: FinishedBeams, best_P: jax.Array, length: jax.Array) -> jax.Array:
    """Which prompts [P] may still find something better; ``best_P`` is the sum of each one's best hypothesis."""
    worst_P = finished.scores.min(axis=1)  # -inf while fewer than K have finished
    if settings.early_stopping is True:
        return (worst_P == -jnp.inf) & (best_P > -jnp.inf)
    # Log-probabilities are below 0, so with a positive penalty a longer completion divides its sum by more: the limit
    # gives the best score that a hypothesis can still reach.
    hopeful = settings.early_stopping == "never" and settings.length_penalty > 0
    reached = jnp.float32(settings.max_new_tokens) if hopeful else length.astype(jnp.float32)
    return best_P / reached**settings.length_penalty > worst_P


def _extend_beams(
    model: LanguageModel,
    whole: BeamSettings,
    weights: Weights,
    head: Callable[[jax.Array], jax.Array],
    now: _BeamState,
) -> _BeamState:
    """One token more for each hypothesis: those that end are finished, the best K of the others go on."""
    groups, settings = _grouped(whole)
    prompts, beams = now.sums.shape
    end_ids = jnp.asarray(settings.end_ids, jnp.int32)
    logits_BV = soft_capped(head(now.hidden), model.soft_cap)
    log_probs_PKV = jax.nn.log_softmax(logits_BV).reshape(prompts, beams, -1)
    if groups == 1:
        sums_PC, from_PC, next_PC, log_probs_PC = _candidates(log_probs_PKV, now.sums, end_ids)
    else:
        sums_PC, from_PC, next_PC, log_probs_PC = _diverse_candidates(
            log_probs_PKV, now, end_ids, groups, whole.diversity_penalty
        )
    tokens_PCN, log_probs_PCN = _pick_beams((now.tokens, now.log_probs), from_PC)
    tokens_PCN = tokens_PCN.at[:, :, now.index].set(next_PC)
    log_probs_PCN = log_probs_PCN.at[:, :, now.index].set(log_probs_PC)
    length, is_end_PC = now.index + 1, jnp.isin(next_PC, end_ids)
    ends_PC = is_end_PC | (length == settings.max_new_tokens)
    new = FinishedBeams(tokens_PCN, log_probs_PCN, jnp.full_like(next_PC, length), ~is_end_PC, sums_PC)
    finished = _finish(settings, now, new, ends_PC)
    sums_PK, tokens_PKN, log_probs_PKN, next_PK, from_PK = (
        candidates[:, beams:] for candidates in (sums_PC, tokens_PCN, log_probs_PCN, next_PC, from_PC)
    )

    # Each hypothesis takes the cache of the one that it continues; several may continue the same.
    def follow(leaf: jax.Array) -> jax.Array:
        return _pick_beams(leaf.reshape(prompts, beams, *leaf.shape[1:]), from_PK).reshape(leaf.shape)

    hidden_BD, cache = model.decode(weights, next_PK.reshape(-1), jax.tree.map(follow, now.cache))
    still = now.open & _still_open(settings, finished, sums_PK.max(axis=1), length)
    return _BeamState(length, hidden_BD, cache, tokens_PKN, log_probs_PKN, sums_PK, finished, still)


def _with_room(held: jax.Array, room: jax.ShapeDtypeStruct) -> jax.Array:
    """A cache's leaf, longer along its third axis where ``room`` is."""
    return jnp.pad(held, [(0, wide - narrow) for narrow, wide in zip(held.shape, room.shape, strict=True)])


def _begin(
    model: LanguageModel, settings: BeamSettings, weights: Weights, prompts_PT: jax.Array, lengths_P: jax.Array
) -> _BeamState:
    """The state before the first token: each prompt read once, one live hypothesis, the other K - 1 impossible.

    A prompt of length 0 only fills the batch up: its search is over before it begins.
    """
    time, limit, groups = prompts_PT.shape[1], settings.max_new_tokens, _grouped(settings)[0]
    prompts, beams = len(prompts_PT) * groups, settings.beams // groups
    room = model.cache_shapes(prompts * beams, time + limit)
    pin = partial(meshes.constrain, model.mesh)
    hidden_PD, cache = read_prompts(model, weights, prompts_PT, lengths_P, time)
    repeat = partial(jnp.repeat, repeats=settings.beams, axis=0)
    cache, hidden_BD = jax.tree.map(
        lambda leaf: pin(repeat(leaf), ("batch",) + (None,) * (leaf.ndim - 1)), (cache, hidden_PD)
    )
    cache = jax.tree.map(_with_room, cache, room)
    nothing_PKN = jnp.zeros((prompts, beams, limit), jnp.int32)
    never_PK = jnp.full((prompts, beams), -jnp.inf)
    return _BeamState(
        index=jnp.zeros((), jnp.int32),
        hidden=hidden_BD,
        cache=cache,
        tokens=nothing_PKN,
        log_probs=nothing_PKN.astype(jnp.float32),
        # With K equal live hypotheses, all K beams would be one and the same.
        sums=never_PK.at[:, 0].set(0.0),
        finished=FinishedBeams(
            tokens=nothing_PKN,
            log_probs=nothing_PKN.astype(jnp.float32),
            lengths=jnp.zeros((prompts, beams), jnp.int32),
            truncated=jnp.zeros((prompts, beams), bool),
            scores=never_PK,
        ),
        open=jnp.repeat(lengths_P > 0, groups),
    )


def search(
    model: LanguageModel,
    mesh: Mesh,
    settings: BeamSettings,
    weights: Weights,
    prompts_PT: jax.Array,
    lengths_P: jax.Array,
) -> FinishedBeams:
    """Beam search as transformers' ``generate(num_beams=K)`` does it, for all prompts at once.

    The best K candidates may finish, others that would are dropped, and the best K that don't end go on;
    reaching ``max_new_tokens`` counts as finishing. A prompt whose search is over waits for the others unchanged, so
    prompts don't influence each other. One thing differs: hypotheses that don't exist yet (K above the vocabulary's
    size) never finish.
    """
    step = partial(_extend_beams, model, settings, weights, head_product(model, mesh, weights))
    state = _begin(model, settings, weights, prompts_PT, lengths_P)

    def going(now: _BeamState) -> jax.Array:
        return (now.index < settings.max_new_tokens) & jnp.any(now.open)

    # Prompts that are over are extended like the others, but nothing more finishes.
    with jax.named_scope(SEARCHING):
        finished = jax.lax.while_loop(going, step, state).finished
    if _grouped(settings)[0] == 1:
        return finished
    together = jax.tree.map(lambda leaf: leaf.reshape(len(lengths_P), settings.beams, *leaf.shape[2:]), finished)
    return _pick_beams(together, jax.lax.top_k(together.scores, settings.beams)[1])


@lru_cache(32)
def search_program(model: LanguageModel, mesh: Mesh, settings: BeamSettings) -> jax.stages.Wrapped:
    """The jitted ``search(weights, prompts, lengths) -> FinishedBeams`` on ``mesh``, devices of a topology included.

    Equal arguments give the very same function.
    """
    # Prompts come split by rows over the data-parallel devices, and completions leave so, as in the engine.
    split = meshes.row_sharding(mesh)
    return jax.jit(
        partial(search, model, mesh, settings),
        in_shardings=(decode_shardings(model, mesh), split, split),
        out_shardings=split,
    )


class Search(Protocol):
    """From an engine's published weights and this process's prompts to each prompt's best completions."""

    def __call__(self, weights: Weights, prompts: Sequence[Sequence[int]], *, rows: int = 0) -> Beams: ...


@lru_cache(32)
def build_beam(model: LanguageModel, mesh: Mesh, settings: BeamSettings) -> Search:
    """The search that ``settings`` describe; ``rows`` are an engine's.

    One program is compiled a bucket of prompt lengths and number of rows; equal arguments give the same function, so
    that stages share it. Deterministic: nothing is drawn. Raises InputError as an engine's ``generate`` does.
    """
    run: Callable[..., FinishedBeams] = search_program(model, mesh, settings)
    shapes = shapes_of(settings, model, rows_multiple(mesh))

    def generate(weights: Weights, prompts: Sequence[Sequence[int]], *, rows: int = 0) -> Beams:
        completed = run(weights, *meshes.to_global(mesh, padded(prompts, rows, shapes)))

        def local(name: str) -> np.ndarray:
            return meshes.local_rows(getattr(completed, name))[: len(prompts)]

        return Beams(Rollouts(*map(local, Rollouts.names())), local("scores"))

    return generate
