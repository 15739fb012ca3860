"""Published heads of reward models, read from folders in their form, against float64 numpy on the raw tensors."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors_folder import read_all, write_file

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.formats.checkpoint_reader import import_checkpoint
from reasoning.models.formats.families import read_config
from reasoning.models.formats.scorer_reader import import_scorer, read_scorer
from reasoning.models.heads import DECODER, Head, head_logits, with_head
from reasoning.models.model import build_model

GOLDEN = Path(__file__).parents[1] / "parity" / "qwen2"
CHANCE = np.random.default_rng(0)
IDS = jnp.array([[3, 7, 1, 9, 4]])
ROWS = (IDS, jnp.arange(5)[None], jnp.ones((1, 5), jnp.int32))


def folder_of(tmp_path: Path, architecture: str, head: dict[str, np.ndarray], unembedding: bool) -> Path:
    """A golden decoder with a head in the place of its unembedding."""
    tensors = read_all(GOLDEN) | head
    if not unembedding:
        tensors.pop("lm_head.weight", None)
    write_file(tmp_path / "model.safetensors", tensors)
    config = json.loads((GOLDEN / "config.json").read_text()) | {"architectures": [architecture]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def random(*shape: int) -> np.ndarray:
    return CHANCE.normal(0, 0.5, shape).astype(np.float32)


WIDTH = read_config(GOLDEN).width
PROCESS = {
    "score.0.weight": random(WIDTH, WIDTH),
    "score.0.bias": random(WIDTH),
    "score.2.weight": random(2, WIDTH),
    "score.2.bias": random(2),
}


@pytest.mark.parametrize(
    ("architecture", "head", "unembedding", "expected"),
    [
        ("Qwen2ForProcessRewardModel", PROCESS, False, Head(hidden=WIDTH, classes=2)),
        ("Qwen2ForProcessRewardModel", PROCESS, True, Head(hidden=WIDTH, classes=2)),
        ("Qwen2ForSequenceClassification", {"score.weight": random(1, WIDTH)}, False, Head()),
        ("Qwen2ForSequenceClassification", {"score.weight": random(2, WIDTH)}, False, Head(classes=2)),
    ],
)
def test_a_published_head_gives_its_own_probabilities(
    tmp_path: Path, architecture: str, head: dict[str, np.ndarray], unembedding: bool, expected: Head
):
    folder = folder_of(tmp_path, architecture, head, unembedding)
    config, found = read_scorer(folder)
    assert found == expected
    mesh = build_mesh(MeshShape(fsdp=2, data=1), jax.devices()[:2])
    params = import_scorer(folder, config, found, mesh)
    model = with_head(build_model(config, mesh), found)
    states, _ = jax.jit(model.hidden_states)(params, *ROWS)
    judged = jax.nn.sigmoid(head_logits(found, params, states))
    # The same decoder as a language model, then the raw tensors.
    plain = build_mesh(MeshShape(), jax.devices()[:1])
    language = read_config(GOLDEN)
    decoder = build_model(language, plain)
    hidden, _ = decoder.hidden_states(import_checkpoint(GOLDEN, language, plain, "float32"), *ROWS)
    values = np.asarray(hidden, np.float64)
    if "score.0.weight" in head:
        values = np.maximum(values @ np.float64(head["score.0.weight"]).T + head["score.0.bias"], 0)
        values = values @ np.float64(head["score.2.weight"]).T + head["score.2.bias"]
    else:
        values = values @ np.float64(head["score.weight"]).T
    right = np.exp(values[..., -1]) / (np.exp(values).sum(-1) if values.shape[-1] == 2 else 1 + np.exp(values[..., 0]))
    np.testing.assert_allclose(judged, right, rtol=1e-4)
    assert DECODER in params


def refused(tmp_path: Path, head: dict[str, Any], message: str) -> None:
    folder = folder_of(tmp_path, "Qwen2ForSequenceClassification", head, False)
    with pytest.raises(InputError, match=message):
        import_scorer(folder, *read_scorer(folder), build_mesh(MeshShape(), jax.devices()[:1]))


def test_heads_of_other_forms_and_numbers_that_are_none_are_refused(tmp_path: Path):
    refused(tmp_path, {}, "its tensors named score are none; one of 1 or 2 labels is")
    refused(tmp_path, {"score.weight": random(5, WIDTH)}, r"are score.weight \[5, ")
    refused(tmp_path, {"score.weight": np.full((1, WIDTH), np.nan, np.float32)}, "score.weight holds NaN or infinity")
