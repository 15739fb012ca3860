"""Whether a plan's peak is where the compiler begins to refuse: rows of a training step, halved in on that limit.

For each topology the largest number of rows that an update still compiles with is looked for, and what the plan says of
it is set beside the memory that programs can have. The compiler refuses once it has placed the buffers, so what gets
past that counts as compiled. Beside that stand the update's operations over the formula's. Needs libtpu: make tpu-aot.

    python -m benchmarks.plan_limit
    python -m benchmarks.plan_limit v5p:2x2x1 --layers 4
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

TOPOLOGIES = ("v5e:1x1", "v6e:1x1")
LENGTH, WIDTH, VOCABULARY = 1024, 512, 8192


def config_of(layers: int, remat: Any) -> Any:
    """The model's settings."""
    from reasoning.models.config import ModelConfig, Stack

    return ModelConfig(
        vocabulary=VOCABULARY,
        width=WIDTH,
        heads=8,
        kv_heads=4,
        mlp_width=4 * WIDTH,
        stacks=(Stack(layers),),
        context=LENGTH,
        compute_dtype="bfloat16",
        remat=remat,
    )


def update_of(config: Any, mesh: Any, rows: int) -> Any:
    """The program of an update with so many rows a device."""
    from reasoning.core.program import Program
    from reasoning.models.model import build_model
    from reasoning.planning.programs import token_batch_shapes
    from reasoning.training.losses import supervised
    from reasoning.training.optimizers import AdamW
    from reasoning.training.program import build_step

    model = build_model(config, mesh)
    program = build_step(model, mesh, supervised(model), AdamW(1e-4).build(10), 1)
    batch = token_batch_shapes(mesh, mesh.size * rows, LENGTH)
    return Program("update", program.step, (program.abstract, program.frozen, batch))


def placed(topology: str, config: Any, rows: int, file: Path) -> None:
    """Leaves what the compiler makes of an update, and ends this process."""
    from reasoning.core.mesh import MeshShape, build_mesh
    from reasoning.planning.apart import place_here
    from reasoning.planning.topology import topology_devices

    mesh = build_mesh(MeshShape(), topology_devices(topology))
    place_here(update_of(config, mesh, rows), file)


def limit(topology: str, layers: int, remat: str) -> str:
    """What was found on one topology, in a line."""
    from reasoning.core.mesh import MeshShape, build_mesh
    from reasoning.models.flops import training_flops
    from reasoning.planning.apart import apart
    from reasoning.planning.chips import chip_of
    from reasoning.planning.compiling import Compiled, Compiler
    from reasoning.planning.topology import topology_devices

    config, mesh = config_of(layers, remat), build_mesh(MeshShape(), topology_devices(topology))
    chip = chip_of(mesh.devices.flat[0].device_kind)
    usable = chip.of_a_device(chip.usable)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compiler = Compiler(topology, folder, lambda name: None)

        def found(rows: int) -> Compiled:
            elsewhere = partial(apart, placed, topology, config, rows)
            one = compiler.compile(update_of(config, mesh, rows), mesh, elsewhere)
            print(f"{rows} rows: {one.memory / 2**30:.2f} GiB {one.refusal[:60]}", flush=True)
            return one

        one, two = found(8), found(16)
        each = (two.memory - one.memory) / 8
        guess = int((usable - one.memory) / each) + 8
        fits, refused = 8, 2 * guess
        for rows in (int(1.05 * guess), int(0.95 * guess)):
            fits, refused = (fits, min(rows, refused)) if found(rows).refusal else (max(rows, fits), refused)
        while refused - fits > max(1, 0.01 * refused):
            middle = (fits + refused) // 2
            fits, refused = (fits, middle) if found(middle).refusal else (middle, refused)
        last, refusal = found(fits), found(refused)
        flops = training_flops(config, 0, fits * LENGTH, LENGTH)
    return (
        f"{topology}, remat {remat}: {fits} rows compile, {refused} don't; the plan says {last.memory / 2**30:.2f} GiB "
        f"of {usable / 2**30:.2f} ({last.memory / usable:.1%}), of {refused} rows {refusal.memory / 2**30:.2f}; "
        f"operations {last.flops / flops:.3f} of the formula's"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("topologies", nargs="*", default=TOPOLOGIES)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--remat", default="block")
    chosen = parser.parse_args()
    for topology in chosen.topologies or TOPOLOGIES:
        print(limit(topology, chosen.layers, chosen.remat), flush=True)


if __name__ == "__main__":
    main()
