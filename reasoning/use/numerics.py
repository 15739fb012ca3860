"""Whether the sampler and the trainer are one model: the same completions scored by the engine and by the loss's pass.

A policy gradient takes for granted that what sampled is what learns. A cache that is off by a place, a mask that
differs, or another kernel shows here first: in float32 both must give the same numbers, wherever in the context.

Shapes: P prompts, G samples a prompt, N new tokens.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

from reasoning.core import mesh as meshes
from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.generation.engine import build_engine
from reasoning.generation.sampler import SamplerSettings
from reasoning.models.formats.checkpoint_reader import silent
from reasoning.models.model import LanguageModel, Model, build_model, check_memory
from reasoning.models.parameters import Params
from reasoning.objectives.aggregation import token_mean
from reasoning.pipeline.folder import RUN
from reasoning.rollouts.record import of_completions
from reasoning.stages.checkpoint import model_of, params_of
from reasoning.stages.pretrained import find
from reasoning.training.policy_rows import policy_rows
from reasoning.training.program import build_batching, build_scoring
from reasoning.use.find_model import locate_model
from reasoning.use.run_folder import open_run

ALLOWED = 1e-5
"""Nats by which a log-probability may differ in float32: some hundred roundings of the likeliest sums."""

_EXACT = "float32"
_SAMPLES = 2
"""Replies a prompt, so that a prompt's cache is shared as it is in training."""

_SHORTEST, _LONGEST = 4, 512
_TEMPERATURE = 1.0


@dataclass(frozen=True)
class Extent:
    """What is sampled: replies to so many random prompts of all lengths up to half of ``length``, each to its half."""

    prompts: int
    length: int  # tokens of the longest prompt and its reply; 0: the model's context, up to 512
    seed: int

    def __post_init__(self) -> None:
        """Raises InputError where nothing would be sampled."""
        if self.prompts < 1 or (self.length and self.length < _SHORTEST):
            raise InputError(
                f"{self.prompts} prompts and {self.length} tokens of context leave nothing to compare; give at least "
                f"1 prompt and {_SHORTEST} tokens"
            )


@dataclass(frozen=True)
class Band:
    """Tokens with ``first`` to ``last`` tokens before them: how many, and how far sampler and trainer are apart there.

    ``mean``, ``p99`` and ``largest`` are of |log p - log q| in nats, ``ratio`` holds the percentiles 1 and 99 of p / q,
    the trainer's probability by the sampler's.
    """

    first: int
    last: int
    count: int
    mean: float
    p99: float
    largest: float
    ratio: tuple[float, float]


@dataclass(frozen=True)
class Farthest:
    """The token at which sampler and trainer are farthest apart: the ``token``-th of a reply (from 1) to a prompt."""

    prompt_length: int
    token: int
    sampler: float
    trainer: float

    @property
    def apart(self) -> float:
        """|log p - log q| in nats; infinite where one of them is no number."""
        apart = abs(self.trainer - self.sampler)
        return apart if apart == apart else float("inf")


@dataclass(frozen=True)
class Comparison:
    """Sampler and trainer computing in ``dtype``: by depth in the context, over all tokens, and the farthest token."""

    dtype: str
    bands: tuple[Band, ...]
    whole: Band
    farthest: Farthest

    @property
    def faulty(self) -> bool:
        """Whether they are apart by more than rounding, which only float32 tells for certain."""
        return self.dtype == _EXACT and not self.farthest.apart <= ALLOWED


@dataclass(frozen=True)
class Scored:
    """Log-probabilities [P, G, N] of the same completions by both, and how many tokens come before each, [P, N]."""

    sampler: np.ndarray
    trainer: np.ndarray
    depths: np.ndarray


def models_of(path: str) -> tuple[str, ...]:
    """All models that ``path`` names, as ``check_numerics`` takes them: a run's, in order, or the one that it is.

    Raises InputError for a run that has none, and where its record is damaged.
    """
    if not (Path(path) / RUN).exists():
        return (path,)
    run = open_run(path)
    names = [artifact.stage for artifact in run.as_recorded() if artifact.kind == "checkpoint"]
    if not names:
        raise InputError(f"{path}: no stage of this run has left a model so far; name another run")
    return tuple(str(Path(path) / name) for name in names)


def check_numerics(name: str, extent: Extent) -> tuple[Comparison, ...]:
    """Compares sampler and trainer of the model ``name``, in its own type of computation and in float32.

    Raises InputError as ``locate_model`` does, for more tokens than the model's context has, and for a model that the
    devices can't hold.
    """
    mesh = build_mesh(MeshShape())
    model, params = _load(name, mesh)
    extent = replace(extent, length=extent.length or min(_LONGEST, model.context))
    if extent.length > model.context:
        raise InputError(f"{extent.length} tokens exceed the context of {name}, {model.context}; compare no more")
    prompts = random_prompts(extent, model.config.vocabulary, meshes.data_parallel_size(mesh))
    found = []
    for dtype in dict.fromkeys((model.config.compute_dtype, _EXACT)):
        # Accelerators multiply float32 in fewer bits unless they are told not to.
        with jax.default_matmul_precision("highest") if dtype == _EXACT else nullcontext():
            scored = score_both(
                build_model(replace(model.config, compute_dtype=dtype), mesh), mesh, params, prompts, extent
            )
        found.append(compare(dtype, scored))
    return tuple(found)


def random_prompts(extent: Extent, vocabulary: int, multiple: int) -> list[list[int]]:
    """Prompts of random tokens, at least so many and a ``multiple``, of lengths from 1 to half of the extent's."""
    random = np.random.default_rng(extent.seed)
    count = -(-extent.prompts // multiple) * multiple
    lengths = np.linspace(1, extent.length // 2, count).round().astype(int)
    return [random.integers(0, vocabulary, length).tolist() for length in lengths]


def score_both(
    model: LanguageModel, mesh: Mesh, params: Params, prompts: Sequence[Sequence[int]], extent: Extent
) -> Scored:
    """Samples replies that nothing ends before their limit, and scores them as old log-probabilities are in GRPO."""
    new = extent.length - extent.length // 2
    engine = build_engine(model, mesh, SamplerSettings(_SAMPLES, new, ()))
    key = jax.random.key(extent.seed)
    rollouts = engine.generate(engine.publish(params), prompts, range(len(prompts)), key, _TEMPERATURE)
    rows = policy_rows(prompts, rollouts, extent.length, (extent.length,))
    batch = build_batching(mesh, token_mean, extent.length)(meshes.to_global(mesh, rows))
    log_probs_BT = meshes.local_rows(build_scoring(model, mesh, _TEMPERATURE)(params, batch).log_prob_BT)
    starts_P1 = np.array([[len(prompt)] for prompt in prompts])
    return Scored(
        sampler=rollouts.log_probs.astype(np.float64),
        trainer=of_completions(log_probs_BT, prompts, rollouts.tokens.shape).astype(np.float64),
        depths=starts_P1 + np.arange(new),
    )


def compare(dtype: str, scored: Scored) -> Comparison:
    """How far both are apart by the depth, in bands each twice as wide as the one before."""
    apart_PGN = scored.trainer - scored.sampler
    depths_PGN = np.broadcast_to(scored.depths[:, None], apart_PGN.shape)
    deepest = int(scored.depths.max())
    starts = [2**power for power in range(deepest.bit_length())]
    bands = [
        _band(first, min(2 * first - 1, deepest), apart_PGN[(depths_PGN >= first) & (depths_PGN < 2 * first)])
        for first in starts
    ]
    worst = np.nan_to_num(np.abs(apart_PGN), nan=np.inf).argmax()
    prompt, sample, token = (int(place) for place in np.unravel_index(worst, apart_PGN.shape))
    farthest = Farthest(
        prompt_length=int(scored.depths[prompt, 0]),
        token=token + 1,
        sampler=float(scored.sampler[prompt, sample, token]),
        trainer=float(scored.trainer[prompt, sample, token]),
    )
    return Comparison(dtype, tuple(bands), _band(1, deepest, apart_PGN.reshape(-1)), farthest)


def _band(first: int, last: int, apart: np.ndarray) -> Band:
    sizes = np.abs(apart)
    low, high = np.exp(np.quantile(apart, (0.01, 0.99)))
    return Band(
        first=first,
        last=last,
        count=apart.size,
        mean=float(sizes.mean()),
        p99=float(np.quantile(sizes, 0.99)),
        largest=float(sizes.max()),
        ratio=(float(low), float(high)),
    )


def _load(name: str, mesh: Mesh) -> tuple[Model, Params]:
    """The model and its parameters; no chat format is needed to be asked nothing."""
    location = locate_model(name)
    if location.run is None:
        pretrained = find(location.path)
        model = build_model(pretrained.config, mesh)
        check_memory(model, mesh, location.stage)
        return model, pretrained.load(model, mesh, silent)
    artifact = location.run[location.stage]
    model = model_of(artifact, mesh)
    check_memory(model, mesh, location.stage)
    return model, params_of(artifact, model, mesh)
