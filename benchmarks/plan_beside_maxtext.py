"""One training step compiled ahead of time as plans do and by MaxText's train_compile: memory, operations, exchanges.

The same model (Qwen3-0.6B), rows, mesh (fsdp over all chips), precision and recomputation of whole blocks, AdamW with
float32 moments, and the same jax and libtpu, those of the interpreter that has MaxText. Both are compiled until their
buffers are placed, as by ``plan --quick``, and read by ``planning.costs``. Needs libtpu, and MaxText in one of the
interpreters:

    python benchmarks/plan_beside_maxtext.py --python MAXTEXT/bin/python
    python benchmarks/plan_beside_maxtext.py --python MAXTEXT/bin/python --topology v5e-16 --rows 4
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from side_by_side import interpreters, rounds_in

NEEDS = {"reasoning": "", "maxtext": "maxtext"}
LENGTH = 2048


def ours(topology: str, rows: int, folder: Path) -> None:
    """Compiles the update of a supervised step."""
    from dataclasses import replace

    from reasoning.core.mesh import MeshShape, build_mesh
    from reasoning.models.model import build_model
    from reasoning.models.presets import QWEN3_0_6B
    from reasoning.planning.placed import writing_down
    from reasoning.planning.programs import lower_step, token_batch_shapes
    from reasoning.planning.topology import topology_devices
    from reasoning.training.losses import supervised
    from reasoning.training.optimizers import AdamW

    devices = topology_devices(topology)
    mesh = build_mesh(MeshShape(data=1, fsdp=len(devices)), devices)
    config = replace(QWEN3_0_6B, context=LENGTH, compute_dtype="bfloat16", remat="block")
    model = build_model(config, mesh)
    batch = token_batch_shapes(mesh, rows * mesh.size, LENGTH)
    lowered = lower_step(model, mesh, supervised(model), AdamW(1e-4).build(100), batch, 1)
    lowered.compile(writing_down(folder))


def theirs(topology: str, rows: int, folder: Path) -> None:
    """The train step that train_compile compiles, with this batch and mesh set and all else as MaxText has it."""
    import importlib

    from reasoning.planning.placed import writing_down
    from reasoning.planning.topology import topology_devices

    train_compile: Any = importlib.import_module("maxtext.trainers.pre_train.train_compile")
    base = Path(train_compile.__file__).parents[2] / "configs" / "base.yml"
    settings = {
        "model_name": "qwen3-0.6b",
        "compile_topology": topology,
        "compile_topology_num_slices": 1,
        "compile_xla_flags": " ".join(f"--{name}={value}" for name, value in writing_down(folder).items()),
        "per_device_batch_size": rows,
        "max_target_length": LENGTH,
        "ici_fsdp_parallelism": len(topology_devices(topology)),
        "remat_policy": "full",
        "attention": "flash",
        "log_config": "false",
        "base_output_directory": "/tmp",
        "run_name": "beside",
    }
    train_compile.main(["", str(base), *(f"{name}={value}" for name, value in settings.items())])


def measured(contestant: str, topology: str, rows: int) -> None:
    """Prints what one contestant's program takes of a device, and ends this process."""
    import jax

    from reasoning.pipeline.environment import installed_version
    from reasoning.planning.costs import cost_of
    from reasoning.planning.hlo import read_module
    from reasoning.planning.placed import Placed, leaving_when_placed, read_placed

    os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_compilation_cache", False)
    begun, spent = time.monotonic(), time.process_time()
    folder = Path(tempfile.mkdtemp())

    def tell(placed: Placed) -> None:
        wall, cpu = time.monotonic() - begun, time.process_time() - spent
        shutil.rmtree(folder, ignore_errors=True)
        module = read_module(placed.text)
        cost, entry = cost_of(module, {}), module.computations[module.entry].instructions.values()
        found = {
            "peak": placed.memory,
            "arguments": sum(array.bytes for one in entry if one.opcode == "parameter" for array in one.result),
            "flops": cost.flops,
            "traffic": cost.hbm,
            "sent": sum(cost.sent.values()),
            "wall": wall,
            "cpu": cpu,
            "versions": f"jax {jax.__version__}, libtpu {installed_version('libtpu')}",
        }
        print(json.dumps(found), flush=True)
        os._exit(0)

    with leaving_when_placed(folder, tell):
        {"reasoning": ours, "maxtext": theirs}[contestant](topology, rows, folder)
    tell(read_placed(folder))


def formula(rows: int) -> float:
    """Operations of a device by the model's formula, without what is computed again."""
    from reasoning.models.flops import training_flops
    from reasoning.models.presets import QWEN3_0_6B

    return training_flops(QWEN3_0_6B, 0, rows * LENGTH, LENGTH)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", nargs="+", default=[], metavar="PYTHON", help="interpreters that may have MaxText")
    parser.add_argument("--topology", default="v5e-16")
    parser.add_argument("--rows", type=int, default=4, help=f"rows of {LENGTH} tokens on each device")
    parser.add_argument("--one", choices=NEEDS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        measured(chosen.one, chosen.topology, chosen.rows)
    there = interpreters(NEEDS, chosen.python)
    if "maxtext" not in there:
        sys.exit("no interpreter given has maxtext; see the script's first lines")
    there["reasoning"] = there["maxtext"]  # one compiler for both
    [results] = rounds_in(there, __file__, 1, "--topology", chosen.topology, "--rows", str(chosen.rows))
    by_formula = formula(chosen.rows)
    for name, one in results.items():
        peak, arguments = (f"{one[key] / 2**30:.2f}" for key in ("peak", "arguments"))
        print(
            f"{name} ({one['versions']}): {peak} GiB a device, of which arguments {arguments}; "
            f"operations {one['flops'] / by_formula:.3f} of the formula's, {one['traffic'] / 1e9:.1f} GB of traffic, "
            f"{one['sent'] / 1e9:.2f} GB sent; buffers placed after {one['wall']:.0f} s, {one['cpu']:.0f} CPU s"
        )


if __name__ == "__main__":
    main()
