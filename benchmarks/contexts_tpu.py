"""How long contexts may be: GRPO updates compiled for TPUs that needn't be there, into docs/pods.md's table.

A row a chip (or a row for each group of chips that cut it over ``context``), a reference, AdamW with float32 moments,
bfloat16 products, compiled until their buffers are placed. Rows that the page has are left out, so a call that was cut
off goes on; each takes some ten seconds of one core, those cut over ``context`` minutes. Needs libtpu: make tpu-aot.

    python -m benchmarks.contexts_tpu
    python -m benchmarks.contexts_tpu --only QWEN2_5_7B
"""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.page_tables import DOCS, put_row

HEAD = (
    "| model, tokens a row, chips, mesh | `remat` | rows | arguments | temporaries | of, GiB |\n"
    "| --- | --- | ---: | ---: | ---: | ---: |"
)
THOUSAND = 1024


class Case(NamedTuple):
    """A model of ``models.presets`` by its name there, with ``context`` thousands of tokens a row, on a mesh."""

    model: str
    context: int
    chips: str
    mesh: dict[str, int]
    remat: str = "block"

    def __str__(self) -> str:
        axes = ",".join(f"{name}={size}" for name, size in self.mesh.items())
        return f"{self.model} {self.context}k {self.chips} {axes}"


CASES = (
    Case("QWEN2_5_7B", 32, "v5p-64", {"fsdp": 32}),
    Case("QWEN2_5_7B", 4, "v5p-64", {"fsdp": 32}),
    Case("QWEN2_5_7B", 32, "v6e-64", {"fsdp": 64}),
    Case("QWEN2_5_1_5B", 32, "v5e-16", {"fsdp": 16}),
    Case("QWEN2_5_7B", 128, "v5p-64", {"fsdp": 32}),
    Case("LLAMA_3_1_8B", 32, "v5p-64", {"fsdp": 32}),
    Case("QWEN2_5_32B", 32, "v5p-128", {"fsdp": 64}),
    Case("QWEN2_5_1_5B", 4, "v5e-16", {"fsdp": 16}),
    Case("QWEN2_5_7B", 4, "v6e-64", {"fsdp": 64}),
    Case("QWEN2_5_7B", 64, "v5p-64", {"fsdp": 32}),
    Case("QWEN2_5_7B", 128, "v5p-64", {"fsdp": 8, "context": 4}),
    Case("QWEN2_5_7B", 128, "v6e-64", {"fsdp": 16, "context": 4}),
    Case("QWEN2_5_7B", 32, "v5e-64", {"fsdp": 16, "context": 4}),
    Case("QWEN2_5_1_5B", 128, "v5e-16", {"fsdp": 4, "context": 4}),
    Case("LLAMA_3_1_8B", 128, "v5p-64", {"fsdp": 8, "context": 4}),
    Case("QWEN2_5_32B", 128, "v5p-128", {"fsdp": 16, "context": 4}),
    Case("QWEN2_5_7B", 128, "v5e-64", {"fsdp": 8, "context": 8}),
)
"""What compiles sooner first: a row that is cut over ``context`` takes several times as long."""


def update_of(case: Case, mesh: Any) -> Any:
    """The program that stage GRPO calls for an update by replies that are compared with a reference."""
    from reasoning.core.mesh import data_parallel_size
    from reasoning.core.program import Program
    from reasoning.models import presets
    from reasoning.models.model import build_model
    from reasoning.objectives.kl import k3
    from reasoning.objectives.policy import Clipped
    from reasoning.planning.programs import policy_batch_shapes
    from reasoning.training.losses import policy
    from reasoning.training.optimizers import AdamW
    from reasoning.training.program import build_step

    length = case.context * THOUSAND
    size = getattr(presets, case.model)
    config = replace(size, context=max(length, size.context), compute_dtype="bfloat16", remat=case.remat)
    model = build_model(config, mesh)
    loss = policy(model, loss=Clipped(), kl=k3, kl_coefficient=0.001, temperature=1.0)
    step = build_step(model, mesh, loss, AdamW(1e-6).build(100), 1)
    batch = policy_batch_shapes(mesh, data_parallel_size(mesh), length, old=False, reference=True)
    return Program("update", step.step, (step.abstract, step.frozen, batch))


def placed(case: Case, file: Path) -> None:
    """Leaves what the compiler says of a case, and ends this process."""
    from reasoning.core.mesh import MeshShape, build_mesh
    from reasoning.planning.apart import place_here
    from reasoning.planning.topology import topology_devices

    mesh = build_mesh(MeshShape(data=1, **case.mesh), topology_devices(case.chips))
    place_here(update_of(case, mesh), file)


def row(case: Case) -> str:
    """The table's line of a case, compiled if it wasn't before."""
    from reasoning.core.mesh import MeshShape, build_mesh, data_parallel_size
    from reasoning.planning.apart import apart
    from reasoning.planning.chips import chip_of
    from reasoning.planning.compiling import Compiler, plans_folder
    from reasoning.planning.topology import topology_devices

    mesh = build_mesh(MeshShape(data=1, **case.mesh), topology_devices(case.chips))
    chip = chip_of(mesh.devices.flat[0].device_kind)
    elsewhere = partial(apart, placed, case)
    found = Compiler(case.chips, plans_folder(), lambda name: None).compile(update_of(case, mesh), mesh, elsewhere)
    held = f"{found.arguments / 2**30:.1f}"
    made = f"{(found.memory - found.arguments) / 2**30:.1f}{' (refused)' if found.refusal else ''}"
    usable = f"{chip.of_a_device(chip.usable) / 2**30:.1f}"
    print(f"{case}: {found.seconds:.0f} s; largest {found.largest}; {found.refusal}", flush=True)
    return f"| `{case}` | `{case.remat}` | {data_parallel_size(mesh)} | {held} | {made} | {usable} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    chosen = parser.parse_args()
    page = (DOCS / "pods.md").read_text(encoding="utf-8")
    for case in CASES:
        if chosen.only.lower() in str(case).lower() and f"| `{case}` |" not in page:
            put_row(DOCS / "pods.md", "contexts", HEAD, row(case))


if __name__ == "__main__":
    main()
