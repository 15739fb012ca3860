"""Token log-probabilities and divergences compiled for TPUs, on any machine: memory, work, tiles, traffic, what binds.

Forward and backward together, with an upstream gradient of each token on every result. Temporaries are the compiler's
count for one device. Operations are the kernels' own estimates (a compiler can't see into a kernel), in units of tokens
x width x vocabulary, beside the formula's; it counts a loop's body once: naive's and chunked's are left out, and of a
v5p's turns one is counted. Traffic between HBM and VMEM and the chip's balance follow from tiles by formula. Needs
libtpu: make tpu-aot.

    python benchmarks/log_probs_tpu.py
    python benchmarks/log_probs_tpu.py v5p:4x8x8 --mesh fsdp=16,tensor=16 --tokens 1048576
    python benchmarks/log_probs_tpu.py v6e:1x1 --contestants naive chunked pallas
"""

import argparse
import json
import time
from typing import Any

from heads import both_passes, naive, ours
from side_by_side import rounds_of

CONTESTANTS = ("naive", "chunked", "pallas")
TOPOLOGIES = ("v5e:1x1", "v6e:1x1", "v5p:1x1x1", "tpu7x:1x1x1")
LOSSES = ("log_probs", "forward", "reverse", "jsd")
PRODUCTS = {"log_probs": 8, "forward": 16, "reverse": 16, "jsd": 16}
"""Operations by formula, over tokens x width x vocabulary: 2 a product of matrices; both models have one width."""
ROWS = 4


def compiled(contestant: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """One contestant's program for one topology, and what the compiler says of it."""
    import jax
    import jax.numpy as jnp
    from jax.sharding import NamedSharding, PartitionSpec

    from reasoning.core.mesh import MeshShape, build_mesh
    from reasoning.kernels.backends import kernels_for
    from reasoning.kernels.vocabulary_sharding import VocabularySharding
    from reasoning.planning.topology import topology_devices

    devices = topology_devices(chosen.topologies[0])
    sizes = {name: int(size) for name, size in (pair.split("=") for pair in chosen.mesh.split(",") if pair)}
    mesh = build_mesh(MeshShape(**sizes), devices if sizes else devices[:1])
    head = naive(chosen.loss)
    if contestant != "naive":
        kernels = kernels_for({"chunked": "chunked", "pallas": "pallas_tpu"}[contestant], mesh)
        head = ours(chosen.loss, kernels=kernels, sharding=VocabularySharding(mesh))

    shards = mesh.shape["data"] * mesh.shape["fsdp"]
    rows = max(ROWS, shards)
    by_rows = NamedSharding(mesh, PartitionSpec(("data", "fsdp", "expert")))
    by_columns = NamedSharding(mesh, PartitionSpec("fsdp", "tensor"))
    shape = jax.ShapeDtypeStruct
    states = shape((rows, chosen.tokens // rows, chosen.width), jnp.dtype(chosen.dtype), sharding=by_rows)
    matrix = shape((chosen.width, chosen.vocabulary), jnp.dtype(chosen.dtype), sharding=by_columns)
    targets = shape(states.shape[:2], jnp.int32, sharding=by_rows)
    weights = shape(states.shape[:2], jnp.float32, sharding=by_rows)
    rest = (targets,) if chosen.loss == "log_probs" else (states, matrix)

    started = time.perf_counter()
    program = (
        jax.jit(both_passes(head), out_shardings=(by_rows, (by_rows, by_columns)))
        .lower(states, matrix, weights, *rest)
        .compile()
    )
    memory, cost, text = program.memory_analysis(), program.cost_analysis(), program.as_text()
    assert memory is not None and cost is not None and text is not None
    local = chosen.tokens // shards * chosen.width * chosen.vocabulary // mesh.shape["tensor"]
    return {
        "seconds": time.perf_counter() - started,
        "temporaries": memory.temp_size_in_bytes / 2**20,
        "operations": cost["flops"] / local,
        "all-reduces": sum(text.count(f" all-reduce{how}(") for how in ("", "-start")),
        "calls": text.count("tpu_custom_call"),
        "kind": devices[0].device_kind,
        "local": [chosen.tokens // shards, chosen.vocabulary // mesh.shape["tensor"]],
    }


def formulas(found: dict[str, Any], chosen: argparse.Namespace) -> str:
    """Tiles, VMEM and HBM traffic of the two kernels of log-probabilities, and how long the chip needs for each."""
    from jax.experimental.pallas import tpu as pltpu

    from reasoning.kernels.pallas_tpu.backward import ARRAYS as BACKWARD_ARRAYS
    from reasoning.kernels.pallas_tpu.forward import ARRAYS as FORWARD_ARRAYS
    from reasoning.kernels.pallas_tpu.tiles import (
        VERSIONS,
        Load,
        backward_bytes,
        backward_tiles,
        chip_named,
        forward_bytes,
        forward_tiles,
    )

    chip, (count, columns) = chip_named(found["kind"]), found["local"]
    known, itemsize = pltpu.get_tpu_info_for_chip(*VERSIONS[chip.name]), 2 if chosen.dtype == "bfloat16" else 4
    row = itemsize * chosen.width
    first, second = Load(row, FORWARD_ARRAYS), Load(row, BACKWARD_ARRAYS)
    forward, backward = (
        forward_tiles(chip, first, count, columns),
        backward_tiles(chip, second, (count, chosen.width), columns, itemsize),
    )
    reads = row * (count + columns * -(-count // forward.tokens))
    strips = -(-columns // backward.columns)
    # Two cores read the matrix each, and a half of its gradient's sum goes to HBM and back.
    moves = columns * (2 * row if chip.cores == 1 else 3 * row + 8 * chosen.width)
    moves += strips * count * (row + 8 * chosen.width)
    lines = []
    for name, tiles, vmem, products, bytes_ in (
        ("forward", forward, forward_bytes(forward, first), 2, reads),
        ("backward", backward, backward_bytes(backward, second, chosen.width, itemsize), 6, moves),
    ):
        computing = 1e3 * products * count * chosen.width * columns / known.bf16_ops_per_second / chip.cores
        moving = 1e3 * bytes_ / known.mem_bw_bytes_per_second / chip.cores
        lines.append(
            f"    {name}: tiles {tiles.tokens} x {tiles.columns}, {vmem / 2**20:.0f} of {chip.vmem / 2**20:.0f} MiB of "
            f"VMEM, {bytes_ / 2**30:.2f} GiB by HBM; at the chip's best {computing:.2f} ms of products, "
            f"{moving:.2f} ms of traffic: {'products bind' if computing >= moving else 'traffic binds'}"
        )
    return "\n".join(lines)


def main() -> None:
    """Compiles each contestant for each topology in a process of its own, and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("topologies", nargs="*", default=TOPOLOGIES)
    parser.add_argument("--loss", choices=LOSSES, default="log_probs")
    parser.add_argument("--tokens", type=int, default=4096, help="of all devices together")
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--vocabulary", type=int, default=128_256)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument(
        "--mesh", default="", help="axes of the whole topology, as fsdp=16,tensor=16 (default: one chip)"
    )
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=["pallas"])
    parser.add_argument("--one", choices=CONTESTANTS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one is not None:
        print(json.dumps(compiled(chosen.one, chosen)))
        return
    names = ("loss", "tokens", "width", "vocabulary", "dtype", "mesh")
    arguments = [text for name in names for text in (f"--{name}", str(getattr(chosen, name)))]
    print(f"{'':14} {'':8} {'MiB temporary':>13} {'operations / NDV':>17} {'all-reduces':>11} {'compiled in s':>13}")
    for topology in chosen.topologies:
        for name, found in rounds_of(__file__, chosen.contestants, 1, topology, *arguments)[0].items():
            work = f"{found['operations']:.2f} ({PRODUCTS[chosen.loss]})" if name == "pallas" else ""
            print(
                f"{topology:14} {name:8} {found['temporaries']:13.1f} {work:>17} {found['all-reduces']:11} "
                f"{found['seconds']:13.0f}",
                flush=True,
            )
            if name == "pallas" and chosen.loss == "log_probs":
                print(formulas(found, chosen), flush=True)


if __name__ == "__main__":
    main()
