"""Three steps each of SFT, GRPO and distillation on fixed rows, on whatever devices and processes there are.

As a program, ``python -m three_steps '[[{"fsdp": 4, "tensor": 2}, LENGTH], …]'``, it prints their losses on each mesh,
with two microbatches.
"""

import json
import sys
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np
from drawn import placed

from reasoning.core import mesh as meshes
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.generation.engine import Rollouts
from reasoning.kernels.backends import Choice
from reasoning.models.config import ModelConfig, Stack
from reasoning.models.model import Model, build_model
from reasoning.models.parameters import Params
from reasoning.objectives.advantages import group_normalized
from reasoning.objectives.aggregation import token_mean
from reasoning.objectives.divergence import forward
from reasoning.objectives.kl import k3
from reasoning.objectives.policy import Clipped
from reasoning.stages.learn import Frozen
from reasoning.training.losses import distill, policy, supervised
from reasoning.training.optimizers import AdamW
from reasoning.training.policy_rows import every_group, policy_rows
from reasoning.training.program import build_assembling, build_batching, build_scoring, build_step
from reasoning.training.shared_prompts import ReplyGroups
from reasoning.training.state import new_state, state_shardings
from reasoning.training.step import LossFunction

CONFIG = ModelConfig(
    vocabulary=48,
    width=32,
    heads=4,
    kv_heads=2,
    mlp_width=64,
    stacks=(Stack(2),),
    context=48,
    qkv_bias=True,
    head_scale=2.0,
)
TEACHER = replace(CONFIG, width=40, heads=2, kv_heads=2, mlp_width=80, stacks=(Stack(3),), tied=True, embedding_std=0.3)
# Adam's first steps are signs of gradients: at the usual epsilon the rounding of a gradient near zero becomes a whole
# step. This one leaves such gradients small.
OPTIMIZER = AdamW(2e-3, warmup=1, weight_decay=0.1, epsilon=1e-2).build(3)
PROMPTS, GROUP, NEW, LONGEST_PROMPT = 4, 4, 24, 9


@dataclass(frozen=True)
class Case:
    """A loss, the batch that all steps see, and the teacher that the loss reads."""

    loss_fn: LossFunction
    batch: Any
    teacher: Frozen | None = None


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
    prompts = [generator.integers(2, 48, length).tolist() for length in (3, LONGEST_PROMPT, 5, 7)]
    lengths = generator.integers(1, NEW + 1, (PROMPTS, GROUP))
    tokens = generator.integers(2, 48, (PROMPTS, GROUP, NEW))
    rewards = generator.integers(0, 2, (PROMPTS, GROUP)).astype(np.float32)
    rewards[2] = 1
    rollouts = Rollouts(tokens, np.zeros(tokens.shape, np.float32), lengths, lengths < 0)
    return policy_rows(prompts, rollouts, CONFIG.context, ()), rewards.reshape(-1)


def spread_out(rows: dict[str, np.ndarray], length: int) -> dict[str, np.ndarray]:
    """The rows with padding before and after, ``length`` places each, so that their tokens stand all over the time."""

    def moved(values: np.ndarray) -> np.ndarray:
        room = length - values.shape[1]
        wide = np.pad(values, ((0, 0), (0, room)))
        return np.stack([np.roll(row, room * number // len(wide)) for number, row in enumerate(wide)])

    return {name: moved(values) for name, values in rows.items()}


def own(rows: Any) -> Any:
    """This process's share of rows that all processes made alike."""
    count, index = jax.process_count(), jax.process_index()
    return jax.tree.map(lambda leaf: leaf[index * len(leaf) // count : (index + 1) * len(leaf) // count], rows)


def supervised_case(model: Model, start: Params, kernels: Choice = "auto", length: int = CONFIG.context) -> Case:
    """Cross-entropy of packed rows."""
    assert model.mesh is not None
    rows = meshes.to_global(model.mesh, own(spread_out(token_rows(), length)))
    return Case(supervised(model, kernels=kernels), build_batching(model.mesh, token_mean, CONFIG.context)(rows))


def policy_case(model: Model, start: Params, kernels: Choice = "auto", length: int = CONFIG.context) -> Case:
    """GRPO; its second and third step are off-policy, clipped, and held by a KL term."""
    assert model.mesh is not None
    settings: Any = {"temperature": 0.9, "kernels": kernels, "groups": ReplyGroups(GROUP, LONGEST_PROMPT, NEW)}
    loss_fn = policy(model, loss=Clipped(0.1, 0.2), kl=k3, kl_coefficient=0.05, **settings)
    assembling = build_assembling(model.mesh, GROUP, group_normalized, every_group, token_mean, NEW)
    rows, rewards = rollout_rows()
    batch = assembling(*meshes.to_global(model.mesh, own((spread_out(rows, length), rewards))))
    old = build_scoring(model, model.mesh, **settings)(start, batch.rows).log_prob_BT
    return Case(loss_fn, batch.replace(old_log_probs=old, reference_log_probs=old))


def teacher_of(model: Model) -> Frozen:
    """A teacher of another width and depth, on the student's mesh."""
    assert model.mesh is not None
    teacher = build_model(TEACHER, model.mesh)
    return Frozen(teacher, placed(teacher, model.mesh, 7))


def kl_case(model: Model, start: Params, kernels: Choice = "auto", length: int = CONFIG.context) -> Case:
    """Forward KL from a teacher, and a share of cross-entropy, on packed rows."""
    teacher = teacher_of(model)
    options = {"divergence": forward, "temperature": 1.5, "cross_entropy_coefficient": 0.3}
    loss_fn = distill(teacher.model, model, kernels=kernels, **options)
    return Case(loss_fn, supervised_case(model, start, kernels, length).batch, teacher)


CASES = {"sft": supervised_case, "grpo": policy_case, "kl": kl_case}


def losses(
    shape: MeshShape,
    microbatches: int,
    devices: Any = None,
    kernels: Choice = "auto",
    length: int = CONFIG.context,
) -> dict[str, list[float]]:
    """The losses of three steps of each case, on rows of ``length`` places."""
    mesh = build_mesh(shape, devices)
    model = build_model(CONFIG, mesh)
    # A step takes the state for itself, so each case starts from arrays of its own.
    start = partial(placed, model, mesh)
    initial = jax.jit(
        lambda params: new_state(params, OPTIMIZER),
        out_shardings=state_shardings(model, mesh, OPTIMIZER),
    )
    found: dict[str, list[float]] = {}
    for name, case_of in CASES.items():
        case = case_of(model, start(), kernels, length)
        frozen = None if case.teacher is None else case.teacher.model
        program = build_step(model, mesh, case.loss_fn, OPTIMIZER, microbatches, frozen)
        state, found[name] = initial(start()), []
        for _ in range(3):
            state, metrics = program.step(state, {} if case.teacher is None else case.teacher.params, case.batch)
            found[name].append(float(metrics["loss"][0]))
    return found


if __name__ == "__main__":
    from reasoning.cli.distributed import initialize_from_environment

    initialize_from_environment()
    results = [losses(MeshShape(**sizes), 2, length=places) for sizes, places in json.loads(sys.argv[1])]
    if jax.process_index() == 0:
        print(json.dumps(results), flush=True)
