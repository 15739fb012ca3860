"""``reasoning convert``: bring a model from elsewhere into the form that runs start from."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from reasoning.cli.progress import output
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.pipeline.convert import convert, fetch

EPILOG = """\
examples:
  reasoning convert hf models/Qwen2.5-0.5B checkpoints/qwen2.5-0.5b
  reasoning convert hf HuggingFaceTB/SmolLM2-135M@main checkpoints/smollm2
  reasoning convert gguf SmolLM2-135M-Instruct.Q4_1.gguf checkpoints/smollm2
An experiment starts from it as  base = @stages.Pretrained  base.path = 'checkpoints/smollm2'
(base.path may also name what convert reads: then nothing needs to be converted before).
"""


def main(arguments: Sequence[str]) -> int:
    """Converts, with a bar for progress, and returns the exit status."""
    chosen = _parser().parse_args(arguments)
    source = fetch(chosen.source) if chosen.kind == "hf" else Path(chosen.source)
    out, console = Path(chosen.out), output()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"reading {source.name}", total=None)
        mesh = build_mesh(MeshShape())
        count = convert(source, out, mesh, lambda done, total: bar.update(task, completed=done, total=total))
    console.print(f"{count:,} parameters are in {out}", soft_wrap=True, markup=False, highlight=False)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reasoning convert",
        description="Brings a model into the form that runs start from: float32 parameters, config and tokenizer.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", choices=("hf", "gguf"), help="hf: Hugging Face's safetensors; gguf: llama.cpp's file")
    parser.add_argument("source", help="a folder or file, or (hf) owner/model[@revision] on the Hub")
    parser.add_argument("out", help="the folder to write; it must not exist yet")
    return parser
