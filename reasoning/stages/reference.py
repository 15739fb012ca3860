"""The policy that GRPO measures KL from: the start, or, where a stage says so, its own policy of some steps ago."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from reasoning.core.mesh import with_shardings
from reasoning.kernels.token_log_probs import TokenLogProbs
from reasoning.models.parameters import Params
from reasoning.stages.trainee import Trainee
from reasoning.training.batches import TokenBatch
from reasoning.training.checkpoints import Checkpointer, load_params

Score = Callable[[Params, TokenBatch], TokenLogProbs]
"""A pass that gives the log-probabilities [B, T] of rows, and more of their tokens."""


@dataclass
class Reference:
    """A frozen policy, which every ``every`` steps (0: never) becomes the one that trains.

    It is the policy after ``since`` steps. What trains is kept of it, of a model with LoRA the adapters alone, and a
    copy beside each checkpoint of the stage, in ``checkpoints``, so that a resumed run has the same. It is held in the
    dtype of the computation. ``score`` and ``score_start`` read the model that trains and the merged one.
    """

    trainee: Trainee
    every: int
    checkpoints: Checkpointer
    score: Score
    score_start: Score
    since: int = 0
    stored: int = 0
    params: Params | None = None

    def log_probs(self, rows: TokenBatch) -> jax.Array:
        """The reference's log-probabilities [B, T] of rows, after ``look``."""
        if self.params is None:
            self.params = self.trainee.reference()
        if self.since == 0:
            return self.score_start(self.params, rows).log_prob_BT
        return self.score(self.trainee.all_params(self.params), rows).log_prob_BT

    def look(self, step: int, trained: Params) -> None:
        """Looks at what trains before ``step``, counted from 0; makes it the reference when that is due.

        Raises InputError where the reference of an interrupted run is missing or damaged.
        """
        if self.every and step > 0 and step % self.every == 0:
            # A copy, since the step takes what it gets.
            self.since, self.params = step, jax.tree.map(jnp.copy, self.trainee.narrowed(trained))
        elif self.since > 0 and self.params is None:
            shapes = jax.eval_shape(self.trainee.narrowed, trained)
            places = jax.tree.map(lambda array: array.sharding, trained)
            self.params = load_params(self.checkpoints.path(self.since), with_shardings(shapes, places))
            self.stored = self.since

    def get_state(self) -> dict[str, Any]:
        """Which policy it is, which is on disk from now on."""
        if self.since > 0 and self.stored != self.since and self.params is not None:
            self.checkpoints.save(self.since, self.params, {})
            self.stored = self.since
        return {"since": self.since}

    def set_state(self, cursor: dict[str, Any]) -> None:
        """Goes on with the policy that ``cursor`` names."""
        self.since, self.params = cursor["since"], None
