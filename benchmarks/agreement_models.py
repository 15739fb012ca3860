"""What the parts of ``agreement.py`` share: random checkpoints, our import of them, and comparisons."""

import importlib
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.formats.checkpoint_reader import import_checkpoint
from reasoning.models.formats.families import read_config
from reasoning.models.model import Model, build_model
from reasoning.models.parameters import Params

PARITY = Path(__file__).resolve().parents[1] / "tests" / "models" / "parity"


@dataclass(frozen=True)
class Compared:
    """One line of the table: how far ``cases`` of ``what`` are from what ``against`` computes, and how far they may be.

    A case that differs in kind (another token, another shape) is infinitely far.
    """

    what: str
    against: str
    cases: int
    difference: float
    allowed: float

    @property
    def agrees(self) -> bool:
        """Whether all is within the bound; what isn't a number is not."""
        return self.difference <= self.allowed


@dataclass(frozen=True)
class Pair:
    """One checkpoint in both libraries."""

    theirs: Any
    model: Model
    params: Params


@cache
def one_device() -> Any:
    """The mesh of everything here."""
    return build_mesh(MeshShape(), jax.devices()[:1])


def families() -> dict[str, Any]:
    """The kinds of checkpoints that the tests' golden numbers are made of, by name."""
    if str(PARITY) not in sys.path:
        sys.path.append(str(PARITY))
    return importlib.import_module("make_golden").CASES


def varied(case: Any, random: np.random.Generator) -> Any:
    """The same kind of checkpoint with other heads, another number of them to a key, and another window."""
    heads = int(random.choice([2, 4]))
    settings = {**case.settings, "num_attention_heads": heads}
    latent = "kv_lora_rank" in settings
    settings["num_key_value_heads"] = heads if latent else int(random.choice([1, 2, heads]))
    if "sliding_window" in settings:
        settings["sliding_window"] = int(random.integers(3, 13))
    return replace(case, settings=settings)


def pair(case: Any, seed: int) -> Pair:
    """A checkpoint of random weights from ``seed``, as transformers has it in float32 and as we import its files."""
    theirs = importlib.import_module("make_golden").build(case, seed)
    return Pair(theirs, *imported(theirs))


def imported(theirs: Any) -> tuple[Model, Params]:
    """What we read of the files that transformers writes."""
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        config = read_config(Path(folder))
        params = import_checkpoint(Path(folder), config, one_device(), "float32")
    return build_model(config, one_device()), params


def apart(ours: Any, theirs: Any) -> float:
    """The largest difference of two arrays, relative where theirs is above 1.

    Infinite where shapes differ, or a number isn't finite.
    """
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape or not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return np.inf
    return float((np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs))).max(initial=0.0))


def leaves_apart(ours: Params, theirs: Params) -> float:
    """The largest difference of two trees of parameters; NaN if one is."""
    return float(np.max(jax.tree.leaves(jax.tree.map(lambda one, other: jnp.abs(one - other).max(), ours, theirs))))


def padded(sequences: Sequence[Sequence[Any]]) -> torch.Tensor:
    """Sequences as rows, with zeros behind them."""
    longest = max(map(len, sequences))
    return torch.tensor([[*sequence, *[0] * (longest - len(sequence))] for sequence in sequences])


def log_probs_of(theirs: Any, sequences: Sequence[Sequence[int]], temperature: float = 1.0) -> torch.Tensor:
    """Log-probability of each token but the first, one sequence a row; what lies behind a shorter one means nothing."""
    tokens_NL = padded(sequences)
    logits_NLV = theirs(tokens_NL).logits[:, :-1] / temperature
    return torch.log_softmax(logits_NLV, -1).gather(-1, tokens_NL[:, 1:, None])[..., 0]


def draws(random: np.random.Generator, lengths: Sequence[int], vocabulary: int) -> list[list[int]]:
    """Token ids, none of them special, one sequence for each length."""
    return [random.integers(3, vocabulary, length).tolist() for length in lengths]


def worst(differences: Sequence[float]) -> tuple[int, float]:
    """How many there are, and the largest; NaN if one is."""
    return len(differences), float(np.max(differences))
