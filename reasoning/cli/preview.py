"""``reasoning run --check`` on the terminal: the stages, what they are made from, their sizes and their state."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from reasoning.pipeline.preview import Preview
from reasoning.report.console import put, table

_STATES = {"finished": "finished", "begun": "unfinished, will go on", "new": "to do", None: "not known here"}


def show_preview(console: Console, preview: Preview, out: Path) -> None:
    """Prints what a run in the folder ``out`` would do."""
    rows = (
        (stage.name, stage.kind, ", ".join(stage.parents), _STATES[stage.state], _sizes(stage.sizes))
        for stage in preview.stages
    )
    put(console, table(f"{out}: nothing was run", ("stage", "what", "made from", "state", "sizes"), rows))
    show_contents(console, {path: content for stage in preview.stages for path, content in stage.contents.items()})
    for leak in preview.leaks:
        put(console, leak, wrapped=True)
    if preview.obstacle:
        put(console, f"this machine can't run it: {preview.obstacle}")
    else:
        put(console, "mesh: " + ", ".join(f"{axis} {size}" for axis, size in preview.mesh.items()), wrapped=True)
        put(console, f"kernels: {preview.kernels}", wrapped=True)


def show_contents(console: Console, contents: Mapping[str, str]) -> None:
    """Prints what lies at the paths that stages read, by the beginnings of the hashes that are recorded."""
    for path, content in contents.items():
        put(console, f"reads {path}: {content[:12]}", wrapped=True)


def _sizes(sizes: Mapping[str, object]) -> str:
    return ", ".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}" for name, value in sizes.items()
    )
