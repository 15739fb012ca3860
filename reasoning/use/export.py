"""Models of ours as folders that other programs load: weights, config, tokenizer, chat template, and a card."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from reasoning.core.artifact import write_files
from reasoning.core.files import write_atomic
from reasoning.core.folders import check_free, folder_in_making
from reasoning.data.tokenizers.transformers_files import TransformersFiles, transformers_files
from reasoning.models.formats.checkpoint_reader import Report, silent
from reasoning.models.formats.checkpoint_writer import Dtype, export_checkpoint
from reasoning.models.formats.families_export import to_hf
from reasoning.models.formats.peft import export_adapters
from reasoning.models.model import build_model, check_memory
from reasoning.stages.checkpoint import check_vocabulary, read_adapters, read_model
from reasoning.stages.pretrained import Found, find
from reasoning.use.find_model import ModelLocation

_CARD = "README.md"


@dataclass(frozen=True)
class ExportPlan:
    """A model that can be exported: its settings in Hugging Face's words, the files beside, what was read of it."""

    location: ModelLocation
    pretrained: Found
    settings: dict[str, Any]
    beside: TransformersFiles
    dtype: Dtype


def plan_export(location: ModelLocation, out: Path, dtype: Dtype) -> ExportPlan:
    """Finds out whether a model can be exported to the folder ``out``, before anything large is read.

    Raises InputError where ``out`` exists, for settings that no family of Hugging Face's has, for a tokenizer that
    transformers can't have, and for a chat format that isn't the tokenizer's.
    """
    check_free(out)
    pretrained = find(location.path)
    check_vocabulary(pretrained.config, pretrained.tokenizer, location.stage)
    settings = to_hf(pretrained.config, dtype)
    beside = transformers_files(pretrained.tokenizer, location.chat, pretrained.config.context)
    return ExportPlan(location, pretrained, settings, beside, dtype)


def export(plan: ExportPlan, out: Path, card: str, mesh: Mesh, report: Report) -> None:
    """Writes the folder ``out``, which appears when it is whole: what transformers and vLLM need, and ``card``.

    Raises InputError where it can't be written, or the devices can't hold the model.
    """
    pretrained, beside = plan.pretrained, plan.beside
    with folder_in_making(out) as whole:
        model = build_model(pretrained.config, mesh)
        check_memory(model, mesh, plan.location.stage)
        params = pretrained.load(model, mesh, silent)
        export_checkpoint(whole, pretrained.config, params, plan.dtype, beside.ids, report)
        for name, content in {**beside.files, _CARD: card}.items():
            (whole / name).parent.mkdir(exist_ok=True)
            write_atomic(whole / name, content)
        write_files(whole, (_CARD,))  # a card is there to be edited


def export_adapter(location: ModelLocation, out: Path, base: str, mesh: Mesh) -> None:
    """Writes what a stage has trained by LoRA as the folder ``out``, which peft and vLLM load onto the model ``base``.

    ``base`` is a folder or a name at Hugging Face, and must be the model that the stage started from. Raises InputError
    where the stage didn't train by LoRA, ``out`` exists, or peft can't hold such adapters.
    """
    lora, adapters = read_adapters(location.path, mesh)
    export_adapters(out, read_model(location.path), lora, adapters, base)
