"""Reward models in Hugging Face's format: a decoder without its unembedding, and a head named ``score``.

Two forms are published: ``…ForSequenceClassification`` with ``score.weight``, one row a label, and
``Qwen2ForProcessRewardModel`` with ``score.0`` and ``score.2``, a ReLU between them and two classes
(Qwen2.5-Math-PRM, arXiv 2501.07301).
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from reasoning.core.errors import InputError
from reasoning.core.files import read_json
from reasoning.models.config import ModelConfig
from reasoning.models.formats.checkpoint_reader import Report, import_checkpoint, silent
from reasoning.models.formats.families import from_hf
from reasoning.models.formats.quantised import Readable, dequantised, values_of
from reasoning.models.formats.safetensors import read_folder
from reasoning.models.heads import DECODER, HEAD, Head, with_head
from reasoning.models.model import build_model, parameter_shardings
from reasoning.models.parameters import Params

_LAYERS = {"out": "score"}, {"hidden": "score.0", "out": "score.2"}
"""How the layers of a head are called there, without and with one between."""

_UNEMBEDDING = "lm_head.weight"  # some files hold one, which nobody reads


def read_scorer(folder: Path) -> tuple[ModelConfig, Head]:
    """The decoder and the head that a folder holds. Raises InputError, naming the fault, where it holds none."""
    values = read_json(folder / "config.json")
    if not isinstance(values, dict):
        raise InputError(f"{folder / 'config.json'} is not a table of settings; fetch the file again")
    # The unembedding is never read, so the embedding may stand for it.
    config = from_hf({**values, "architectures": [], "tie_word_embeddings": True})
    shapes = {name: tensor.shape for name, tensor in _head_tensors(folder).items()}
    for names in _LAYERS:
        kernels = [shapes.get(f"{name}.weight", ()) for name in names.values()]
        widths = [config.width, *(kernel[0] for kernel in kernels if len(kernel) == 2)]
        fits = [kernel == (widths[at + 1], widths[at]) for at, kernel in enumerate(kernels) if len(kernel) == 2]
        if len(fits) == len(names) and all(fits) and widths[-1] in (1, 2):
            return config, Head(hidden=widths[1] if len(names) > 1 else 0, classes=2 if widths[-1] == 2 else 1)
    found = ", ".join(f"{name} {list(shape)}" for name, shape in sorted(shapes.items())) or "none"
    raise InputError(
        f"{folder} holds no head of a reward model that is known: its tensors named score are {found}; one of 1 or 2 "
        "labels is, as score.weight, or as score.0 and score.2"
    )


def import_scorer(folder: Path, config: ModelConfig, head: Head, mesh: Mesh, report: Report = silent) -> Params:
    """The parameters of ``heads.with_head``, float32 and sharded over ``mesh``.

    Raises InputError as ``import_checkpoint`` does, and for numbers in the head that are not finite.
    """
    tensors = _head_tensors(folder)
    decoder = import_checkpoint(folder, config, mesh, "float32", report, {*tensors, _UNEMBEDDING})
    places = parameter_shardings(with_head(build_model(config), head), mesh)[HEAD]
    names = _LAYERS[1 if head.hidden else 0]

    def placed(name: str, where: Any, missing: tuple[int, ...]) -> jax.Array:
        values = _values(tensors[name]).T if name in tensors else np.zeros(missing, np.float32)
        if not np.isfinite(values).all():
            raise InputError(f"{folder}: {name} holds NaN or infinity; fetch it again")
        return jax.device_put(np.ascontiguousarray(values, np.float32), where)

    own = {
        layer: {
            "kernel": placed(f"{names[layer]}.weight", places[layer]["kernel"], shape),
            "bias": placed(f"{names[layer]}.bias", places[layer]["bias"], shape[1:]),
        }
        for layer, shape in head.layers(config.width).items()
    }
    return {DECODER: decoder, HEAD: own}


def _head_tensors(folder: Path) -> dict[str, Readable]:
    stored = read_folder(folder)
    return dequantised(folder, {name: tensor for name, tensor in stored.items() if name.startswith("score.")})


def _values(tensor: Readable) -> np.ndarray:
    """All of a tensor of the head, which is small."""
    rows = range(tensor.shape[0])
    return np.array(values_of(tensor, rows, np.empty(len(rows) * tensor.row_bytes, np.uint8)), np.float32).reshape(
        tensor.shape
    )
