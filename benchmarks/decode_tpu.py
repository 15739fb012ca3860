"""Bytes that decoding reads and writes a token, of an engine's program compiled for TPUs on any machine.

Qwen2.5-7B's sizes cut to a few layers in bfloat16, 64 slots a device: plain products and the ragged kernel beside each
other. What one turn of the loop that writes takes is the compiler's program read instruction by instruction, the
dearest branch of those that depend on lengths, and the kernel as if all slots were full; beside it the weights and the
cache read once. Then by arithmetic for lengths spread evenly between the prompt's and the limit, as slots have that are
refilled. Needs libtpu: make tpu-aot.

    python benchmarks/decode_tpu.py
    python benchmarks/decode_tpu.py v6e:4x4 --lengths 1024+31744
"""

import argparse
import json
import time
from dataclasses import replace
from typing import Any

from side_by_side import rounds_of

CONTESTANTS = ("plain", "kernel")
MIB = 2**20


def compiled(contestant: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """One contestant's program, and what one turn of its writing loop takes of a device."""

    from reasoning.core.mesh import MeshShape, build_mesh
    from reasoning.core.program import device_bytes
    from reasoning.generation.calls import sampling_call
    from reasoning.generation.engine import SLOTS
    from reasoning.generation.reading import PIECES
    from reasoning.generation.sampler import SamplerSettings
    from reasoning.generation.slots import READING, WRITING
    from reasoning.kernels.attention.ragged import block_places
    from reasoning.models import presets
    from reasoning.models.config import Stack
    from reasoning.models.model import build_model
    from reasoning.planning.built import build
    from reasoning.planning.costs import cost_of
    from reasoning.planning.hlo import read_module
    from reasoning.planning.topology import topology_devices

    prompt, limit = map(int, chosen.lengths.split("+"))
    mesh = build_mesh(MeshShape(data=1, fsdp=-1, tensor=chosen.tensor), topology_devices(chosen.topology))
    whole = getattr(presets, chosen.model)
    stacks = whole.stacks if not chosen.layers else (Stack(chosen.layers),)
    config = replace(whole, stacks=stacks, context=max(whole.context, prompt + limit), compute_dtype="bfloat16")
    model = build_model(config, mesh, "chunked" if contestant == "plain" else "auto")
    settings, prompts = SamplerSettings(8, limit, (0,)), mesh.shape["fsdp"] * SLOTS // 8
    function, arguments = sampling_call(model, mesh, settings, prompts, prompt)
    begun = time.perf_counter()
    built = build(function.lower(*arguments), None)
    if built.refusal:
        raise SystemExit(built.refusal)
    module = read_module(built.text)
    turns = [cost_of(module, {READING: 0, PIECES: 0, WRITING: count}).hbm for count in (1, 2)]
    weights, cache = arguments[0], arguments[1].slots.cache["layers"]
    heads = config.key_heads // chosen.tensor
    # Of an embedding that isn't the unembedding too, a token reads its row.
    read = {name: leaf for name, leaf in weights.items() if config.tied or name != "embedding"}
    return {
        "turn": turns[1] - turns[0],
        "weights": device_bytes(read),
        "cache": device_bytes(cache),
        "memory": built.memory,
        "kernels": built.text.count('custom_call_target="tpu_custom_call"'),
        "block": block_places(cache[0], heads),
        "seconds": time.perf_counter() - begun,
    }


def spread(found: dict[str, Any], prompt: int, limit: int) -> float:
    """What a turn takes where slots' lengths lie evenly between the prompt's and the limit: of a cache that the kernel
    reads whole blocks up to each slot's end, of another one all, since one slot of so many is nearly full.
    """
    if not found["kernels"]:
        return found["turn"]
    block, whole = found["block"], prompt + limit
    read = [min(-(-held // block) * block, whole) for held in range(prompt + 1, whole + 1)]
    return found["turn"] - found["cache"] * (1 - sum(read) / len(read) / whole)


def main() -> None:
    """Compiles both for a topology, each in a process of its own, and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("topology", nargs="?", default="v5e:4x4")
    parser.add_argument("--model", default="QWEN2_5_7B", help="of models.presets")
    parser.add_argument("--lengths", default="256+256", help="tokens of a prompt + of a reply, at most")
    parser.add_argument("--layers", type=int, default=2, help="0: all that the model has")
    parser.add_argument("--tensor", type=int, default=4)
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=CONTESTANTS)
    parser.add_argument("--one", choices=CONTESTANTS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one is not None:
        print(json.dumps(compiled(chosen.one, chosen)))
        return
    names = ("model", "lengths", "layers", "tensor")
    arguments = [text for name in names for text in (f"--{name}", str(getattr(chosen, name)))]
    prompt, limit = map(int, chosen.lengths.split("+"))
    print("MiB a token and chip    once   turn  by once  spread  by once  kernels  memory  compiled in s")
    for name, found in rounds_of(__file__, chosen.contestants, 1, chosen.topology, *arguments)[0].items():
        once, ragged = found["weights"] + found["cache"], spread(found, prompt, limit)
        print(
            f"{name:20} {once / MIB:7.0f} {found['turn'] / MIB:6.0f} {found['turn'] / once:8.2f} {ragged / MIB:7.0f} "
            f"{ragged / once:8.2f} {found['kernels']:8} {found['memory'] / MIB:7.0f} {found['seconds']:14.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
