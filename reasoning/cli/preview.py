"""``reasoning run --check`` on the terminal: the stages, what they are made from, their sizes and their state."""

from collections.abc import Mapping
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reasoning.pipeline.preview import Preview

_STATES = {"finished": "finished", "begun": "unfinished, will go on", "new": "to do", None: "not known here"}


def show_preview(console: Console, preview: Preview, out: Path) -> None:
    """Prints what a run in the folder ``out`` would do."""
    table = Table(title=Text(f"{out}: nothing was run"), title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("stage", "what", "made from", "state", "sizes"):
        table.add_column(column, overflow="fold")
    for stage in preview.stages:
        cells = (stage.name, stage.kind, ", ".join(stage.parents), _STATES[stage.state], _sizes(stage.sizes))
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
    if preview.obstacle:
        console.print(Text(f"this machine can't run it: {preview.obstacle}"), soft_wrap=True)
    else:
        console.print(Text("mesh: " + ", ".join(f"{axis} {size}" for axis, size in preview.mesh.items())))
        console.print(Text(f"kernels: {preview.kernels}"))


def _sizes(sizes: Mapping[str, object]) -> str:
    return ", ".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}" for name, value in sizes.items()
    )
