"""How near a plan's peak is to where the compiler begins to refuse: an update's rows, bisected on several chips.

Needs libtpu: make tpu-aot. Nothing is run and no chip needs to be there.

    python benchmarks/plan_limit.py
    python benchmarks/plan_limit.py v5p-2
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import jax

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.core.program import Program
from reasoning.models.config import ModelConfig, Stack
from reasoning.models.model import build_model
from reasoning.planning.chips import chip_of
from reasoning.planning.compiling import Compiled, Compiler
from reasoning.planning.programs import token_batch_shapes
from reasoning.planning.topology import topology_devices
from reasoning.training.losses import supervised
from reasoning.training.optimizers import AdamW
from reasoning.training.program import build_step

LENGTH = 2048
MODEL = ModelConfig(
    vocabulary=8192,
    width=512,
    heads=4,
    kv_heads=2,
    mlp_width=1536,
    stacks=(Stack(8),),
    context=LENGTH,
    compute_dtype="bfloat16",
)
NEAR = 0.03
"""The bisection ends where so small a share of the rows is in doubt."""


def limit(name: str) -> None:
    """Says for one chip, layers kept whole for backward, which update is the largest that compiles, and its peak."""
    devices = topology_devices(name)
    mesh, usable = build_mesh(MeshShape(), devices), chip_of(devices[0].device_kind).usable
    model = build_model(replace(MODEL, remat="none"), mesh, "chunked")
    step = build_step(model, mesh, supervised(model, kernels="chunked"), AdamW(1e-4).build(10), 1)

    with tempfile.TemporaryDirectory() as folder:
        compiler = Compiler(name, Path(folder), lambda program: None)

        def found(rows: int) -> Compiled:
            batch = token_batch_shapes(mesh, rows, LENGTH)
            program = Program(f"{rows} rows", step.step, (step.abstract, step.frozen, batch))
            one = compiler.compile(program, mesh)
            told = f"refused: {one.refusal[:100]}" if one.refusal else f"{one.memory / 2**30:.2f} GiB"
            print(f"{name}: {rows} rows of {LENGTH} tokens: {told}", flush=True)
            return one

        fits, refused = 1, 2
        while not found(refused).refusal:
            fits, refused = refused, 2 * refused
        while refused - fits > max(1, NEAR * refused):
            middle = (fits + refused) // 2
            fits, refused = (fits, middle) if found(middle).refusal else (middle, refused)
        peak = found(fits).memory
    print(
        f"{name}: {fits} rows are planned at {peak / 2**30:.2f} GiB and {refused} are refused; the chip has "
        f"{usable / 2**30:.2f}: {100 * (peak / usable - 1):+.1f} %",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chips", nargs="*", default=["v5e-1", "v6e-1"], help="single chips, as clouds name them")
    jax.config.update("jax_platforms", "cpu")
    for name in parser.parse_args().chips:
        limit(name)


if __name__ == "__main__":
    main()
