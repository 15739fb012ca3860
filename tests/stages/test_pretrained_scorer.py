"""A folder of a published reward model becomes a scorer that reads its mark behind each step."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors_folder import read_all, write_file
from tiny_stages import Surroundings, work

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.stages.pretrained_scorer import PretrainedScorer
from reasoning.stages.reward_model import scorer_of

GOLDEN = Path(__file__).parents[1] / "models" / "parity" / "qwen2"


@pytest.fixture
def published(tmp_path: Path, base: Artifact) -> Path:
    tensors = read_all(GOLDEN)
    chance = np.random.default_rng(1)
    width = tensors["model.norm.weight"].shape[0]
    for name, shape in {"0.weight": (width, width), "0.bias": (width,), "2.weight": (2, width), "2.bias": (2,)}.items():
        tensors[f"score.{name}"] = chance.normal(0, 0.5, shape).astype(np.float32)
    folder = tmp_path / "published"
    folder.mkdir()
    write_file(folder / "model.safetensors", tensors)
    config = json.loads((GOLDEN / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["Qwen2ForProcessRewardModel"]}))
    for file in base.path.glob("tokenizer*"):
        shutil.copy(file, folder)
    return folder


def test_scores_are_read_at_marks_behind_each_step(published: Path, tmp_path: Path):
    stage = PretrainedScorer(name="prm", path=str(published), separator="=", mark=ChatFormat().end, context=32)
    artifact = work(stage, tmp_path)
    assert artifact.kind == "scorer"
    mesh = Surroundings().context().mesh
    marked = scorer_of(artifact, mesh, "auto", 4)
    plain = scorer_of(work(PretrainedScorer(name="orm", path=str(published)), tmp_path), mesh, "auto", 4)
    assert (marked.separator, plain.separator) == ("=", "")
    [scores] = marked.scores([[5, 6]], [[7, 8, 9]], [[0, 2]])
    written = [7, marked.mark, 8, 9, marked.mark]
    [expected] = plain.scores([[5, 6]], [written], [[1, 4]])
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    assert marked.cost([[5, 6]], [[7, 8, 9]], [[0, 2]]).tokens_R.tolist() == [7]


def test_a_folder_without_a_reward_model_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="there is no config.json"):
        PretrainedScorer(name="prm", path=str(tmp_path)).check(Surroundings().context().mesh)
