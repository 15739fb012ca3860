"""A reward model that somebody else trained, as a scorer of exams."""

import glob
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from jax.sharding import Mesh

from reasoning.core.addresses import fetched
from reasoning.core.artifact import Outcome
from reasoning.core.errors import InputError
from reasoning.core.object_store import is_address
from reasoning.core.ranges import OptionalSize
from reasoning.data.tokenizers.files import load_tokenizer
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.evaluation.reward_scorer import NO_MARK, ForeseenScorer
from reasoning.models.config import ModelConfig
from reasoning.models.formats.scorer_reader import import_scorer, read_scorer
from reasoning.models.heads import with_head
from reasoning.models.model import build_model, check_memory
from reasoning.stages.checkpoint import check_vocabulary, save
from reasoning.stages.place import Place
from reasoning.stages.reward_model import write_head
from reasoning.stages.stage import Context


@dataclass(frozen=True, kw_only=True)
class PretrainedScorer:
    """Brings in the reward model at ``path``, in Hugging Face's format (``formats.scorer_reader``).

    Of a process reward model ``separator`` ends a step and ``mark`` is the symbol that it reads behind each:
    ``'<extra_0>'`` of Qwen2.5-Math-PRM. Without them whole replies are scored, at their last token.
    """

    name: str = ""
    path: str
    separator: str = ""
    mark: str = ""
    context: OptionalSize = 0  # the longest sequence it may see; 0: what the model's own files say
    compute_dtype: Literal["float32", "bfloat16"] = "float32"

    def reads(self) -> tuple[str, ...]:
        """The files at the path, whose content counts (``core.contents``)."""
        return (self.path,) if is_address(self.path) else (f"{glob.escape(self.path)}/*",)

    def check(self, mesh: Mesh) -> None:
        """Raises InputError where no reward model is at the path, or its tokenizer lacks the mark."""
        folder = Path(fetched(self.path))
        if not (folder / "config.json").exists():
            raise InputError(f"stage {self.name}: there is no config.json in {folder}; name a folder of a reward model")
        read_scorer(folder)
        self._mark(load_tokenizer(folder))

    def run(self, inputs: Mapping[str, object], out: Path, context: Context) -> Outcome:
        """Reads the reward model and leaves a scorer."""
        self.check(context.mesh)
        folder = Path(fetched(self.path))
        config, head = read_scorer(folder)
        config = self._configured(config)
        tokenizer, model = load_tokenizer(folder), with_head(build_model(config, context.mesh, context.kernels), head)
        check_memory(model, context.mesh, self.name)
        check_vocabulary(config, tokenizer, self.name)
        params = import_scorer(folder, config, head, context.mesh)
        write_head(out, head, self.separator, self._mark(tokenizer))
        return replace(save(out, model, params, tokenizer, {}), kind="scorer")

    def foreseen(self, place: Place) -> ForeseenScorer:
        """The scorer that will be left. Raises InputError where it isn't at the path yet."""
        folder = Path(fetched(self.path))
        if not (folder / "config.json").exists():
            raise InputError(f"there is no config.json in {folder}")
        config, head = read_scorer(folder)
        model = build_model(self._configured(config), place.mesh, place.kernels)
        return ForeseenScorer(with_head(model, head), head, place.mesh)

    def _configured(self, config: ModelConfig) -> ModelConfig:
        return replace(config, context=self.context or config.context, compute_dtype=self.compute_dtype)

    def _mark(self, tokenizer: Tokenizer) -> int:
        return tokenizer.symbol_id(self.mark) if self.mark else NO_MARK
