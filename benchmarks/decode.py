"""Greedy decoding of SmolLM2-135M-Instruct on the CPU, side by side: this project's engine, and transformers' generate.

Both read the same safetensors (transformers would keep a GGUF file's weights packed, which is slower), and continue the
same 64 tokens by 64 more, in float32 and in bfloat16, one reply at a time and eight. Contestants run in turn, each in a
process of its own, several rounds; medians are printed, with the ratio to transformers in the same type round by round,
since machines drift.

    make smollm2
    python -m reasoning convert export checkpoints/smollm2 exported/smollm2 --chat smollm_2
    python benchmarks/decode.py exported/smollm2 --rounds 3 --python /path/to/an/environment/bin/python
    pip install torch==2.13.0 transformers==5.24.0      # CPU builds, in that environment
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from side_by_side import found, median, peak_mebibytes, ratio, rounds_in

PROMPT, NEW = 64, 64
BATCHES = (1, 8)
NEEDS = {
    "ours-float32": "",
    "ours-bfloat16": "",
    "transformers-float32": "transformers",
    "transformers-bfloat16": "transformers",
}
"""The module that each contestant needs; ours none that isn't here."""


def prompt() -> list[int]:
    """Ids of common tokens of SmolLM2's vocabulary, the same for all."""
    return [300 + 37 * at % 20_000 for at in range(PROMPT)]


def timed(generate: Callable[[int], list[int]]) -> dict[str, object]:
    """Tokens a second and CPU seconds a token for each batch, the first reply's tokens, and the peak memory."""
    told: dict[str, object] = {}
    for batch in BATCHES:
        told["reply"] = generate(batch)
        started, begun = time.perf_counter(), time.process_time()
        generate(batch)
        tokens = NEW * batch
        told[str(batch)] = tokens / (time.perf_counter() - started)
        told[f"cpu {batch}"] = (time.process_time() - begun) / tokens
    told["rss"] = peak_mebibytes()
    return told


def ours(folder: Path, dtype: str) -> dict[str, object]:
    """The engine that exams and GRPO use, on one XLA device with every core's thread, as ``reasoning ask`` has it."""
    import jax

    from reasoning.pipeline.devices import keep_freed_memory

    jax.config.update("jax_platforms", "cpu")
    keep_freed_memory()
    from dataclasses import replace

    from reasoning.core.mesh import MeshShape, build_mesh
    from reasoning.generation.engine import build_engine
    from reasoning.generation.sampler import SamplerSettings
    from reasoning.models.formats.checkpoint_reader import silent
    from reasoning.models.model import build_model
    from reasoning.stages.pretrained import find

    start, mesh = find(folder), build_mesh(MeshShape())
    model = build_model(replace(start.config, compute_dtype=dtype), mesh)
    engine = build_engine(model, mesh, SamplerSettings(1, NEW, ()))
    weights = engine.publish(start.load(model, mesh, silent))

    def generate(batch: int) -> list[int]:
        replies = engine.generate(weights, [prompt()] * batch, range(batch), jax.random.key(0), 0.0)
        return replies.tokens[0, 0].tolist()

    return timed(generate)


def transformers(folder: Path, dtype: str) -> dict[str, object]:
    """``generate`` with its defaults and every core's thread."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()

    def generate(batch: int) -> list[int]:
        tokens = torch.tensor([prompt()] * batch)
        with torch.no_grad():
            made = model.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                max_new_tokens=NEW,
                min_new_tokens=NEW,
                do_sample=False,
                pad_token_id=0,
            )
        return made[0, PROMPT:].tolist()

    return timed(generate)


def main() -> None:
    """Runs the contestants in turn and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="SmolLM2-135M-Instruct in Hugging Face's format")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--python", nargs="+", action="extend", default=[], help="interpreters that may have peers")
    parser.add_argument("--contestants", nargs="+", choices=NEEDS, default=list(NEEDS))
    parser.add_argument("--one", choices=NEEDS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one is not None:
        who, dtype = chosen.one.split("-")
        print(json.dumps((ours if who == "ours" else transformers)(chosen.folder.resolve(), dtype)))
        return
    pythons = found(NEEDS, chosen.contestants, chosen.python)
    rounds = rounds_in(pythons, __file__, chosen.rounds, str(chosen.folder))
    print(f"{'':22} {'batch':>5} {'tokens/s':>9} {'cpu s/token':>11} {'peak MiB':>9}  tokens/s of transformers'")
    for name in pythons:
        other = f"transformers-{name.split('-')[1]}"
        for batch in map(str, BATCHES):
            speed, cpu = (median(rounds, name, key) for key in (batch, f"cpu {batch}"))
            peak = max(one[name]["rss"] for one in rounds)
            print(f"{name:22} {batch:>5} {speed:9.1f} {cpu:11.4f} {peak:9.0f}  {ratio(rounds, name, other, batch)}")
    replies = {name: rounds[0][name]["reply"] for name in pythons}
    for name, reply in replies.items():
        first = next(iter(replies.values()))
        same = next((at for at, pair in enumerate(zip(reply, first, strict=True)) if pair[0] != pair[1]), NEW)
        print(f"{name}: the first {same} of {NEW} tokens equal those of {next(iter(pythons))}")


if __name__ == "__main__":
    main()
