"""A supervised step on the CPU, side by side: this project's, on one and on two XLA devices, and PyTorch's.

A Llama-type model of 10.5 M parameters (8 layers, width 256, MLP 1024, 4 heads, vocabulary 4096, float32), 8 rows of
256 tokens, AdamW with a clip of the global norm. Contestants run in turn, each in a process of its own, several rounds;
medians are printed, with the ratio to PyTorch round by round, since machines drift. PyTorch is optional:

    pip install torch==2.13.0        # a CPU build
    python benchmarks/sft_step.py --rounds 5 --python /path/to/an/environment/bin/python
    python benchmarks/sft_step.py --rows 1 --length 4096
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from side_by_side import found, median, peak_mebibytes, ratio, rounds_in

BATCH, LENGTH, VOCABULARY, WIDTH, MLP, HEADS, LAYERS = 8, 256, 4096, 256, 1024, 4, 8
NEEDS = {"jax-1": "", "jax-2": "", "torch": "torch"}
"""The module that each contestant needs; ours none that isn't here."""


def timed(step: Callable[[], float], steps: int) -> dict[str, float]:
    """Median wall and CPU seconds of a step, the last loss, and the process's peak memory."""
    for _ in range(3):
        loss = step()
    walls, begun = [], time.process_time()
    for _ in range(steps):
        started = time.perf_counter()
        loss = step()
        walls.append(time.perf_counter() - started)
    return {
        "wall": statistics.median(walls),
        "cpu": (time.process_time() - begun) / steps,
        "rss": peak_mebibytes(),
        "loss": loss,
    }


def prepared(devices: int, preset: str | None = None, rows: int = BATCH, length: int = LENGTH) -> tuple[Any, Any, Any]:
    """The step that ``make_step`` builds, on ``devices`` CPU devices, with a state and a batch that are placed there.

    Of a ``preset`` (``models.presets``) blocks are recomputed in the backward pass.
    """
    import jax

    from reasoning.pipeline.devices import keep_freed_memory

    jax.config.update("jax_platforms", "cpu")
    keep_freed_memory()
    jax.config.update("jax_num_cpu_devices", devices)
    import numpy as np

    from reasoning.core import mesh as meshes
    from reasoning.models import presets
    from reasoning.models.config import ModelConfig, Stack
    from reasoning.models.model import build_model, init_sharded
    from reasoning.objectives.aggregation import token_mean
    from reasoning.training.batches import token_batch
    from reasoning.training.losses import supervised
    from reasoning.training.optimizers import AdamW
    from reasoning.training.program import build_step
    from reasoning.training.state import new_state

    mesh = meshes.build_mesh(meshes.MeshShape())
    config = ModelConfig(
        vocabulary=VOCABULARY, width=WIDTH, heads=HEADS, mlp_width=MLP, stacks=(Stack(LAYERS),), context=LENGTH
    )
    if preset is not None:
        config = replace(getattr(presets, preset), context=length, remat="block")
    model, optimizer = build_model(config, mesh), AdamW(1e-3, weight_decay=0.1).build(1000)
    built = build_step(model, mesh, supervised(model), optimizer, microbatches=1)
    params = init_sharded(model, mesh, jax.random.key(0))
    state = jax.jit(lambda p: new_state(p, optimizer), out_shardings=built.shardings)(params)
    tokens = np.random.default_rng(0).integers(0, config.vocabulary, (rows, length)).astype(np.int32)
    arrays = {
        "tokens": tokens,
        "positions": np.broadcast_to(np.arange(length, dtype=np.int32), tokens.shape),
        "segments": np.ones_like(tokens),
        "loss_mask": np.ones_like(tokens),
    }
    batch = jax.jit(lambda r: token_batch(r, token_mean, length), out_shardings=meshes.row_sharding(mesh))(
        meshes.to_global(mesh, arrays)
    )
    return built.step, state, batch


def ours(devices: int, steps: int, rows: int, length: int) -> dict[str, float]:
    """This project's step."""
    taken, state, batch = prepared(devices, rows=rows, length=length)
    holder = [state]

    def step() -> float:
        holder[0], metrics = taken(holder[0], {}, batch)
        return float(metrics["loss"][0])

    return timed(step, steps)


def torch_step(steps: int, rows: int, length: int) -> dict[str, float]:
    """The same step in PyTorch, as its users write it: scaled_dot_product_attention, fused AdamW."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(0)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    size = WIDTH // HEADS
    angles = torch.outer(torch.arange(length), 10_000.0 ** (-torch.arange(0, size, 2) / size))
    cos, sin = angles.cos(), angles.sin()

    def rotate(x: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2, dim=-1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.RMSNorm(WIDTH, eps=1e-6), nn.RMSNorm(WIDTH, eps=1e-6)
            self.query, self.key, self.value, self.output = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
            self.gate, self.up = nn.Linear(WIDTH, MLP, bias=False), nn.Linear(WIDTH, MLP, bias=False)
            self.down = nn.Linear(MLP, WIDTH, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.first(x)
            query, key, value = (
                part(y).view(rows, length, HEADS, size).transpose(1, 2) for part in (self.query, self.key, self.value)
            )
            mixed = F.scaled_dot_product_attention(rotate(query), rotate(key), value, is_causal=True)
            x = x + self.output(mixed.transpose(1, 2).reshape(rows, length, WIDTH))
            y = self.second(x)
            return x + self.down(F.silu(self.gate(y)) * self.up(y))

    model = nn.Sequential(
        nn.Embedding(VOCABULARY, WIDTH),
        *(Block() for _ in range(LAYERS)),
        nn.RMSNorm(WIDTH, eps=1e-6),
        nn.Linear(WIDTH, VOCABULARY, bias=False),
    )
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    tokens = torch.randint(0, VOCABULARY, (rows, length))

    def step() -> float:
        logits = model(tokens)[:, :-1]
        loss = F.cross_entropy(logits.reshape(-1, VOCABULARY), tokens[:, 1:].reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return timed(step, steps)


def main() -> None:
    """Runs the contestants in turn and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rows", type=int, default=BATCH)
    parser.add_argument("--length", type=int, default=LENGTH)
    parser.add_argument("--contestants", nargs="+", choices=NEEDS, default=list(NEEDS))
    parser.add_argument("--python", action="append", default=[], help="an interpreter that has torch")
    parser.add_argument("--one", choices=NEEDS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one is not None:
        sizes = chosen.steps, chosen.rows, chosen.length
        print(json.dumps(torch_step(*sizes) if chosen.one == "torch" else ours(int(chosen.one[-1]), *sizes)))
        return
    sizes = [text for name in ("steps", "rows", "length") for text in (f"--{name}", str(getattr(chosen, name)))]
    rounds = rounds_in(found(NEEDS, chosen.contestants, chosen.python), __file__, chosen.rounds, *sizes)
    print(f"{'':8} {'wall s':>8} {'tokens/s':>9} {'cpu s':>7} {'peak MiB':>9} {'last loss':>9}  tokens/s of torch's")
    for name in rounds[0]:
        middle = {key: median(rounds, name, key) for key in ("wall", "cpu", "rss", "loss")}
        speed = chosen.rows * chosen.length / middle["wall"]
        print(
            f"{name:8} {middle['wall']:8.3f} {speed:9.0f} {middle['cpu']:7.2f} {middle['rss']:9.0f} "
            f"{middle['loss']:9.4f}  {ratio(rounds, 'torch', name, 'wall')}"
        )


if __name__ == "__main__":
    main()
