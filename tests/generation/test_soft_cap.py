"""A model whose logits are capped says the same log-probabilities when it samples as when it is trained."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.generation.engine import build_engine
from reasoning.generation.sampler import SamplerSettings
from reasoning.models.config import ModelConfig, Stack
from reasoning.models.model import build_model
from reasoning.training.batches import TokenBatch
from reasoning.training.losses import score

CONFIG = ModelConfig(
    vocabulary=24, width=16, heads=2, mlp_width=32, stacks=(Stack(1),), context=32, head_scale=9.0, logit_soft_cap=2.0
)
PROMPT, NEW = [5, 6, 7], 8


@pytest.mark.slow
def test_sampler_and_trainer_agree_under_a_soft_cap():
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    model = build_model(CONFIG, mesh)
    params = model.init(jax.random.key(0))
    engine = build_engine(model, mesh, SamplerSettings(4, NEW, 3))
    rollouts = engine.generate(engine.publish(params), [PROMPT], [0], jax.random.key(1), 1.0)
    rows = jnp.asarray(np.concatenate([np.tile(PROMPT, (4, 1)), rollouts.tokens[0]], axis=1))
    targets = jnp.roll(rows, -1, axis=1)
    positions = jnp.broadcast_to(jnp.arange(rows.shape[1]), rows.shape)
    ones = jnp.ones(rows.shape)
    batch = TokenBatch(rows, positions, ones.astype(jnp.int32), targets, ones, ones)
    capped = score(model, params, batch).log_prob_BT[:, len(PROMPT) - 1 : -1]
    said = np.arange(NEW) < rollouts.lengths[0][:, None]
    np.testing.assert_allclose(np.where(said, capped, 0), rollouts.log_probs[0], atol=1e-5)
    free = score(build_model(replace(CONFIG, logit_soft_cap=0.0), mesh), params, batch).log_prob_BT
    assert np.abs(np.where(said, free[:, len(PROMPT) - 1 : -1] - capped, 0)).max() > 0.1
