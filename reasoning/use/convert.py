"""Models from elsewhere, brought once into the form that stages leave and start from."""

import re
from collections.abc import Callable
from pathlib import Path

import jax
from jax.sharding import Mesh

from reasoning.core.addresses import fetched
from reasoning.core.artifact import write_files
from reasoning.core.errors import InputError
from reasoning.core.files import PARTIAL_SUFFIX
from reasoning.core.folders import check_free, folder_in_making
from reasoning.data.tokenizers.files import load_tokenizer
from reasoning.data.tokenizers.transformers_folder import ADDED_FILE, SYMBOLS_FILE, TEMPLATE_SUFFIX
from reasoning.models.model import build_model, check_memory
from reasoning.pipeline.folder import read_run
from reasoning.stages.checkpoint import check_vocabulary, read_model, read_step, save
from reasoning.stages.pretrained import find

_REVISION_MARK = "@"
_STEP = re.compile(r"(?P<run>.+)/(?P<stage>[^/@]+)@(?P<step>\d+)")
_FETCHED_FILES = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "*.model",
    ADDED_FILE,
    SYMBOLS_FILE,
    f"*{TEMPLATE_SUFFIX}",
)
"""What of a repository on the Hub is fetched: no pickles, no code."""


def convert_model(source: Path, out: Path, mesh: Mesh, report: Callable[[int, int], None]) -> int:
    """Writes the model at ``source`` as the folder ``out``, which appears when it is whole; counts its parameters.

    Raises InputError where ``out`` exists already, where the devices can't hold the model, and as
    ``stages.pretrained.find`` and its readers do.
    """
    check_free(out)
    pretrained = find(source)
    model = build_model(pretrained.config, mesh)
    check_vocabulary(model.config, pretrained.tokenizer, "convert")
    check_memory(model, mesh, "convert")
    with folder_in_making(out) as partial:
        partial.mkdir(parents=True)
        params = pretrained.load(model, mesh, report)
        save(partial, model, params, pretrained.tokenizer, {})
        write_files(partial)
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def convert_step(name: str, out: Path, mesh: Mesh) -> int:
    """Writes as ``out`` what the model of ``RUN/STAGE@STEP`` was behind a step that its stage has saved.

    The stage may have finished or not. Counts the parameters. Raises InputError for another name, where that step isn't
    kept or is damaged, and where ``out`` exists already.
    """
    parts = _STEP.fullmatch(name)
    if parts is None:
        raise InputError(f"{name} names no step; write RUN/STAGE@STEP, as in runs/r1_tiny/zero@100")
    run, stage, step = Path(parts["run"]), parts["stage"], int(parts["step"])
    check_free(out)
    folder = _stage_folder(run, stage)
    model, tokenizer = build_model(read_model(folder), mesh), load_tokenizer(folder)
    check_memory(model, mesh, "convert")
    params = read_step(folder, step, model, mesh)
    with folder_in_making(out) as partial:
        partial.mkdir(parents=True)
        save(partial, model, params, tokenizer, {})
        write_files(partial)
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _stage_folder(run: Path, stage: str) -> Path:
    """Where a stage of a run lies: finished, or at work."""
    entries = {entry.stage: entry for entry in read_run(run)}
    if stage not in entries:
        raise InputError(f"{run} has no stage {stage!r}; there are {', '.join(entries) or 'none'}")
    finished = run / entries[stage].folder
    return finished if entries[stage].finished else finished.with_name(f".{finished.name}{PARTIAL_SUFFIX}")


def fetch_model(name: str) -> Path:
    """The folder of a model: ``name`` itself, or its copy, where it is one or the address of one in an object store.

    Else the snapshot of a repository on the Hub.

    ``owner/model@revision`` names a branch, tag or commit. A repository that was fetched before is found without a
    network; with ``HF_HUB_OFFLINE=1`` no other is looked for. Raises InputError where there is neither.
    """
    if Path(fetched(name)).exists():
        return Path(fetched(name))
    repository, _, revision = name.partition(_REVISION_MARK)
    if repository.count("/") != 1 or repository.startswith((".", "/", "~")):
        raise InputError(f"there is no folder {name}, and it is no owner/model of the Hub either; check the spelling")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError:
        raise InputError("fetching from the Hub needs its client: pip install 'reasoning-jax[hf]'") from None
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=list(_FETCHED_FILES)))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).split("\n", 1)[0]
        raise InputError(
            f"could not fetch {name}: {reason}; check name, revision and network, or name a local folder"
        ) from None
