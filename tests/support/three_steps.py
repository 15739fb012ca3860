"""Three SFT and three GRPO steps on fixed rows, on whatever devices and processes there are; prints their losses.

As a program: ``python three_steps.py '{"fsdp": 4, "tensor": 2}' MICROBATCHES``.
"""

import json
import sys
from functools import partial
from typing import Any

import jax
import numpy as np

from reasoning.core import mesh as meshes
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.config import BlockKind, ModelConfig, Stack
from reasoning.models.model import build_model, init_sharded
from reasoning.objectives.advantages import group_normalized
from reasoning.objectives.aggregation import token_mean
from reasoning.training.batches import token_batch
from reasoning.training.losses import policy, score, supervised
from reasoning.training.optimizers import AdamW
from reasoning.training.program import build_step
from reasoning.training.rollouts import assemble, every_group, policy_rows
from reasoning.training.state import new_state

CONFIG = ModelConfig(
    vocabulary=48,
    width=32,
    heads=4,
    kv_heads=2,
    mlp=64,
    stacks=(Stack(2, (BlockKind("swiglu"), BlockKind("relu2"))),),
    context=48,
    qkv_bias=True,
    head_scale=2.0,
)
# Adam's first steps are signs of gradients: at the usual epsilon the rounding of a gradient near zero becomes a whole
# step. This one leaves such gradients small.
OPTIMIZER = AdamW(2e-3, warmup=1, weight_decay=0.1, epsilon=1e-2).build(3)
PROMPTS, GROUP, NEW = 4, 4, 24


def token_rows() -> dict[str, np.ndarray]:
    """Sixteen rows of two documents each, ragged: each row ends in padding of its own length."""
    generator = np.random.default_rng(1)
    ends = generator.integers(20, 47, 16)
    cuts = generator.integers(5, 15, 16)
    places = np.broadcast_to(np.arange(48), (16, 48))
    segments = np.where(places < cuts[:, None], 1, np.where(places < ends[:, None], 2, 0))
    return {
        "tokens": np.where(segments > 0, generator.integers(2, 48, (16, 48)), 0).astype(np.int32),
        "positions": np.where(segments == 2, places - cuts[:, None], places).astype(np.int32),
        "segments": segments.astype(np.int32),
        "loss_mask": (segments > 0).astype(np.int32),
    }


def rollout_rows() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Rows of fixed completions of four prompts, and their rewards; one group has no signal."""
    generator = np.random.default_rng(2)
    prompts = [generator.integers(2, 48, length).tolist() for length in (3, 9, 5, 7)]
    lengths = generator.integers(1, NEW + 1, (PROMPTS, GROUP))
    tokens = generator.integers(2, 48, (PROMPTS, GROUP, NEW))
    rewards = generator.integers(0, 2, (PROMPTS, GROUP)).astype(np.float32)
    rewards[2] = 1
    return policy_rows(prompts, tokens, lengths, CONFIG.context), rewards.reshape(-1)


def own(rows: Any) -> Any:
    """This process's share of rows that all processes made alike."""
    count, index = jax.process_count(), jax.process_index()
    return jax.tree.map(lambda leaf: leaf[index * len(leaf) // count : (index + 1) * len(leaf) // count], rows)


def losses(shape: MeshShape, microbatches: int, devices: Any = None) -> dict[str, list[float]]:
    """The losses of three steps each; GRPO's second and third step are off-policy, clipped, and held by a KL term."""
    mesh = build_mesh(shape, devices)
    model = build_model(CONFIG, mesh)
    start = partial(init_sharded, model, mesh, jax.random.key(0))
    found: dict[str, list[float]] = {}
    for name in ("sft", "grpo"):
        reference = start()
        if name == "sft":
            loss_fn = supervised(model)
            batch = jax.jit(partial(token_batch, aggregate=token_mean, length=48))(
                meshes.to_global(mesh, own(token_rows()))
            )
        else:
            loss_fn = policy(model, clip_low=0.1, clip_high=0.2, kl_coefficient=0.05, temperature=0.9)
            settings = {"advantage": group_normalized, "select": every_group, "aggregate": token_mean, "length": NEW}
            rows, rewards = own(rollout_rows())
            batch = jax.jit(partial(assemble, samples=GROUP, **settings))(*meshes.to_global(mesh, (rows, rewards)))
            old = jax.jit(lambda params, rows: score(model, params, rows, 0.9).log_prob_BT)(reference, batch.rows)
            batch = batch.replace(old_log_probs=old, reference_log_probs=old)
        batch = jax.device_put(batch, meshes.rows(mesh))
        program = build_step(model, mesh, loss_fn, OPTIMIZER, microbatches)
        build = jax.jit(
            lambda params: new_state(params, OPTIMIZER, jax.random.key(1), {}), out_shardings=program.shardings
        )
        state, found[name] = build(start()), []
        for _ in range(3):
            state, metrics = program.step(state, {}, batch)
            found[name].append(float(metrics["loss"][0]))
    return found


if __name__ == "__main__":
    from reasoning.cli.distributed import initialize_from_environment

    initialize_from_environment()
    result = losses(MeshShape(**json.loads(sys.argv[1])), int(sys.argv[2]))
    if jax.process_index() == 0:
        print(json.dumps(result), flush=True)
