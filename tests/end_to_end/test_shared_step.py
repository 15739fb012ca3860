"""Stages of one run that share shapes share what is compiled: zero, rl1 and r1 pay for one step, one sampler."""

from pathlib import Path

import jax
import pytest
from compilations import compilations
from tiny_stages import early_end, quiz, reinforce, work

from reasoning.core.artifact import Artifact
from reasoning.training.optimizers import AdamW

pytestmark = pytest.mark.slow


def also_early(completions: list[str], truncated: list[bool], **columns: object) -> list[float]:
    """A reward of its own, so that the stages differ where those of a run do."""
    return early_end(completions, truncated, **columns)


def test_a_second_stage_of_the_same_shapes_compiles_nothing_that_the_first_has(base: Artifact, tmp_path: Path):
    jax.clear_caches()
    probing = {"probe": quiz(), "probe_every": 2}
    with compilations() as first:
        zero = work(reinforce(**probing, updates=2), tmp_path, {"start": base})
    assert {"step", "sample", "publish", "assemble"} <= set(first)
    later = reinforce(
        name="rl1",
        optimizer=AdamW(3e-3, warmup=1, decay_share=0.5, weight_decay=0.1),
        steps=3,
        updates=2,
        rewards=(early_end, also_early),
        reward_weights=(1.0, 0.5),
        **probing,
    )
    with compilations() as second:
        rl1 = work(later, tmp_path, {"start": zero})
    assert second == ["new_state"]  # which holds this stage's optimizer settings
    assert rl1.hash != zero.hash
