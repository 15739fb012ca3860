"""``reasoning convert``: models from elsewhere into the form that runs start from, and ours into that of others."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from reasoning.cli.arguments import parsed
from reasoning.cli.progress import output
from reasoning.core.addresses import fetched
from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.core.text import printable
from reasoning.findings.facts import gather
from reasoning.models.formats.checkpoint_reader import Report
from reasoning.models.formats.checkpoint_writer import Dtype
from reasoning.models.model import build_model, parameter_count
from reasoning.report.console import put
from reasoning.report.model_card import CardSubject, model_card
from reasoning.use.convert import convert_model, convert_step, fetch_model
from reasoning.use.export import ExportPlan, export, export_adapter, plan_export
from reasoning.use.find_model import locate_model
from reasoning.use.stored import written_to

_EPILOG = """\
examples:
  reasoning convert hf models/Qwen2.5-0.5B checkpoints/qwen2.5-0.5b
  reasoning convert hf HuggingFaceTB/SmolLM2-135M@main checkpoints/smollm2
  reasoning convert gguf SmolLM2-135M-Instruct.Q4_1.gguf checkpoints/smollm2
  reasoning convert step runs/mine/grpo@200 checkpoints/mine-200
  reasoning convert export checkpoints/smollm2 exported/smollm2 --chat smollm_2
  reasoning convert export runs/mine/sft exported/mine --dtype bfloat16
  reasoning convert export runs/mine/grpo exported/adapter --adapter-of HuggingFaceTB/SmolLM2-135M-Instruct
An experiment starts from what hf, gguf and step write as  base = @stages.Pretrained  base.path = 'checkpoints/smollm2'
(base.path may also name what convert reads: then nothing needs to be converted before). export writes what transformers
and vLLM load, with a card of what was measured in the run.
"""

_ENDLESS = "none of its files names an end of a text, so replies go on to their limit; --chat names a format with one"


def main(arguments: Sequence[str]) -> int:
    """Converts, with a bar for progress, and returns the exit status."""
    chosen = parsed(_parser().parse_args, arguments)
    if chosen.kind != "export" and (chosen.dtype or chosen.chat or chosen.adapter_of):
        raise InputError(
            "--dtype, --chat and --adapter-of belong to convert export; what comes in stays float32, with its own files"
        )
    console = output()
    with written_to(chosen.out) as out:
        news = _written(chosen, out, console)
    put(console, f"{chosen.out.rstrip('/')} {news}")
    return 0


def _written(chosen: argparse.Namespace, out: Path, console: Console) -> str:
    """Does what was asked for in the folder ``out``; what that then holds, in words."""
    if chosen.adapter_of:
        export_adapter(locate_model(chosen.source, ""), out, chosen.adapter_of, build_mesh(MeshShape()))
        return f"holds adapters of {chosen.adapter_of} for peft"
    if chosen.kind == "export":
        return _export(chosen.source, out, chosen.dtype or "float32", chosen.chat, console)
    if chosen.kind == "step":
        return f"holds {convert_step(chosen.source, out, build_mesh(MeshShape())):,} parameters of that step"
    source = fetch_model(chosen.source) if chosen.kind == "hf" else Path(fetched(chosen.source))
    with _bar(console, f"reading {source.name}") as report:
        count = convert_model(source, out, build_mesh(MeshShape()), report)
    return f"holds {count:,} parameters"


def _export(source: str, out: Path, dtype: Dtype, chat: str, console: Console) -> str:
    plan = plan_export(locate_model(source, chat), out, dtype)
    with _bar(console, f"writing {out.name}") as report:
        export(plan, out, model_card(_subject(plan, out)), build_mesh(MeshShape()), report)
    kind = plan.settings["model_type"]
    endless = "" if "eos_token_id" in plan.beside.ids else f"; {_ENDLESS}"
    return f"holds a {kind} model in {dtype}; its README.md is a card to read over{endless}"


def _subject(plan: ExportPlan, out: Path) -> CardSubject:
    """What the card is about, with the numbers of its run."""
    location = plan.location
    return CardSubject(
        folder=out.name,
        settings=plan.settings,
        parameters=parameter_count(build_model(plan.pretrained.config)),
        dtype=plan.dtype,
        chat=location.chat,
        templated=plan.beside.templated,
        stage=location.stage,
        run="" if location.run is None else location.run.path.resolve().name,
        facts=None if location.run is None else gather(location.run.path),
    )


@contextmanager
def _bar(console: Console, title: str) -> Iterator[Report]:
    """A bar that counts parameters as they come by."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(printable(title), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reasoning convert",
        description="Brings a model into the form that runs start from (float32 parameters, config and tokenizer), or "
        "exports one.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "kind",
        choices=("hf", "gguf", "step", "export"),
        help="hf: from Hugging Face's safetensors; gguf: from llama.cpp's file; step: a stage behind a step that it "
        "keeps (run.keep, run.keep_every); export: to Hugging Face's",
    )
    parser.add_argument(
        "source",
        help="a folder or file; (hf) or owner/model[@revision] on the Hub; (export) or RUN/STAGE; "
        "or the s3:// or gs:// address of a model; (step) RUN/STAGE@STEP",
    )
    parser.add_argument("out", help="the folder to write, or its s3:// or gs:// address; nothing may lie there yet")
    parser.add_argument("--dtype", choices=get_args(Dtype), help="(export) of the weights (default: float32)")
    parser.add_argument(
        "--chat", default="", metavar="NAME", help="(export) its chat format, such as smollm_2 (default: its run's)"
    )
    parser.add_argument(
        "--adapter-of",
        default="",
        metavar="BASE",
        help="(export) only what a stage trained by LoRA, as peft's adapter of BASE, the model that it started from",
    )
    return parser
