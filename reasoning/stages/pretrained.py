"""A model that somebody else trained, as the start of a run."""

import glob
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from jax.sharding import Mesh

from reasoning.core.addresses import fetched
from reasoning.core.artifact import NOT_HASHED, RECORD, Outcome, check_content, check_whole
from reasoning.core.errors import InputError
from reasoning.core.object_store import is_address
from reasoning.core.progress import Progress
from reasoning.core.ranges import OptionalSize
from reasoning.data.tokenizers.files import load_tokenizer
from reasoning.data.tokenizers.gguf import tokenizer_of_gguf
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.data.tokenizers.transformers_folder import TEMPLATE_FOLDER
from reasoning.models.config import ModelConfig
from reasoning.models.formats.checkpoint_reader import Report, import_checkpoint
from reasoning.models.formats.families import read_config
from reasoning.models.formats.gguf import config_of, import_gguf, open_gguf
from reasoning.models.model import Model, build_model, check_memory, parameter_count
from reasoning.models.parameters import Params
from reasoning.stages.checkpoint import CONFIG, check_vocabulary, read_model, read_params, save
from reasoning.stages.stage import Context

_PARTS = 20
"""How often a stage that reads a checkpoint says how far it is."""


@dataclass(frozen=True)
class Found:
    """A model that lies somewhere, of which only config and tokenizer have been read: ``load`` reads the rest."""

    config: ModelConfig
    tokenizer: Tokenizer
    load: Callable[[Model, Mesh, Report], Params]


def find(path: Path) -> Found:
    """The model at ``path``: a folder in Hugging Face's format, one that ``reasoning convert`` wrote, or a GGUF file.

    Raises InputError where there is none of these, and what each kind's reader raises.
    """
    if path.is_file() or path.suffix == ".gguf":
        file = open_gguf(path)
        return Found(
            config_of(file),
            tokenizer_of_gguf(file.value),
            lambda model, mesh, report: import_gguf(file, model.config, mesh, report),
        )
    anew = f"make it anew, or, where the change was meant, take 'files' out of {RECORD}"
    check_whole(path, "model", anew)
    if (path / CONFIG).exists():
        return Found(read_model(path), load_tokenizer(path), lambda model, mesh, report: read_params(path, model, mesh))
    if (path / "config.json").exists():

        def load(model: Model, mesh: Mesh, report: Report) -> Params:
            check_content(path, "model", anew)
            return import_checkpoint(path, model.config, mesh, "float32", report)

        return Found(read_config(path), load_tokenizer(path), load)
    raise InputError(
        f"there is no model at {path}: neither {CONFIG} (of reasoning convert) nor config.json (of Hugging Face), and "
        "no GGUF file; name a folder or file that holds one"
    )


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """Brings in the model at ``path``; float32 parameters, laid out on the run's mesh."""

    name: str = ""
    path: str  # a folder in Hugging Face's format, one that reasoning convert wrote, or a GGUF file
    context: OptionalSize = 0  # the longest sequence it may see; 0: what the model's own files say
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    remat: Literal["none", "block", "dots", "offload"] = "none"
    # What the model is known to be, so that a run can be planned before it is fetched; it then must be just that.
    model: ModelConfig | None = field(default=None, metadata=NOT_HASHED)

    def reads(self) -> tuple[str, ...]:
        """The path, whose content counts (``core.contents``); of a folder from elsewhere its files and templates alone.

        Beside these may lie the folder of this very run.
        """
        path = Path(fetched(self.path))
        if is_address(self.path) or not path.is_dir() or (path / CONFIG).exists():
            return (self.path,)
        files, templates = f"{glob.escape(self.path)}/*", f"{glob.escape(self.path)}/{TEMPLATE_FOLDER}/*"
        return (files, templates) if (path / TEMPLATE_FOLDER).is_dir() else (files,)

    def run(self, inputs: Mapping[str, object], out: Path, context: Context) -> Outcome:
        """Reads the model and leaves a checkpoint. Raises InputError as ``find`` does."""
        found = find(Path(fetched(self.path)))
        self._check_known(found.config)
        model = build_model(self.configured(found.config), context.mesh, context.kernels)
        check_memory(model, context.mesh, self.name)
        check_vocabulary(model.config, found.tokenizer, self.name)
        told = 0

        def report(done: int, total: int) -> None:
            nonlocal told
            if done * _PARTS // total > told:
                told = done * _PARTS // total
                context.report(Progress(self.name, told, _PARTS, {"parameters": parameter_count(model) * done / total}))

        return save(out, model, found.load(model, context.mesh, report), found.tokenizer, {})

    def tokenizer_at_hand(self) -> Tokenizer:
        """The tokenizer that lies beside the model."""
        return find(Path(fetched(self.path))).tokenizer

    def config_at_hand(self) -> ModelConfig:
        """The config of what will be left: that of the model at the path, or, before it is there, of ``model``."""
        if self.model is not None and not Path(fetched(self.path)).exists():
            return self.configured(self.model)
        return self.configured(find(Path(fetched(self.path))).config)

    def _check_known(self, config: ModelConfig) -> None:
        """Raises InputError where the model at the path isn't the one that was planned with."""
        if self.model is None:
            return
        here, known = build_model(config), build_model(self.model)
        if here.shapes != known.shapes:
            raise InputError(
                f"stage {self.name}: {self.name}.model says what the model at {self.path} is, and it has parameters of "
                f"other shapes ({parameter_count(known):,} in all, against {parameter_count(here):,}); mend it or "
                "drop it"
            )

    def configured(self, config: ModelConfig) -> ModelConfig:
        """The model's config with what this stage changes of it."""
        context = self.context or config.context
        return replace(config, context=context, compute_dtype=self.compute_dtype, remat=self.remat)

    def plan(self) -> dict[str, object]:
        """Sizes for ``run --check``."""
        return {"parameters": parameter_count(build_model(self.config_at_hand()))}
