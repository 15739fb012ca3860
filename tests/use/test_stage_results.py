"""What notebooks read of a stage: its own files, whole, and clear words where there are none."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow_datasets as tfds

from reasoning.core import artifact
from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.formats import formats
from reasoning.data.records import write_records
from reasoning.experiment.describe import describe
from reasoning.training.metrics import MetricsLog, rollouts_file
from reasoning.use.stage_results import StageResults, chat_of, spans

RECORD = {"stage": "zero", "hash": "0" * 64, "kind": "results", "results": {"tokens": 7}, "settings": {"steps": 2}}


def results(folder: Path, **changes: object) -> StageResults:
    (folder / "artifact.json").write_text(json.dumps({**RECORD, **changes}))
    return StageResults(**vars(artifact.read_artifact(folder)))


def test_it_tells_what_the_artifact_tells(tmp_path: Path):
    stage = results(tmp_path)
    assert (stage.path, stage.kind, stage.stage, stage.hash) == (tmp_path, "results", "zero", "0" * 64)
    assert stage.checkpoint == tmp_path / "checkpoint"
    assert stage.results == {"tokens": 7} and stage.record()["settings"] == {"steps": 2}
    assert stage.metrics() == stage.samples() == stage.probes() == [] and stage.steps() == ()


def test_metrics_and_probes_are_the_rows_that_were_recorded(tmp_path: Path):
    log = MetricsLog(tmp_path)
    log.record(1, {"loss": 0.5})
    log.probe(1, [{"problem": 0, "text": "2"}])
    stage = results(tmp_path)
    assert stage.metrics() == [{"step": 1, "loss": 0.5}]
    assert stage.probes() == [{"step": 1, "problem": 0, "text": "2"}]


def test_rollouts_of_one_step_or_all_are_one_table(tmp_path: Path):
    for step in (1, 2, 10):
        file = rollouts_file(tmp_path, step)
        file.parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"step": [step] * 2, "reward": [0.0, float(step)]}), file)
    stage = results(tmp_path)
    assert stage.steps() == (1, 2, 10)
    assert stage.rollouts()["step"].to_pylist() == [1, 1, 2, 2, 10, 10]
    assert stage.rollouts(step=10)["reward"].to_pylist() == [0, 10]
    with pytest.raises(InputError, match="kept no rollouts of step 3; it kept 1 to 2, 10"):
        stage.rollouts(3)


def test_a_stage_that_kept_no_rollouts_says_so(tmp_path: Path):
    with pytest.raises(InputError, match="stage zero kept no rollouts; stages that sample as they learn do"):
        results(tmp_path).rollouts()


def test_records_come_as_rows_with_texts(tmp_path: Path):
    features = {"prompt": tfds.features.Text(), "tokens": tfds.features.Tensor(shape=(2,), dtype=np.int32)}
    rows = [{"prompt": f"ä{number}", "tokens": [number, 1]} for number in range(3)]
    write_records(tmp_path / "records", rows, features)
    found = results(tmp_path, kind="records").records()
    assert [(row["prompt"], row["tokens"].tolist()) for row in found] == [(f"ä{n}", [n, 1]) for n in range(3)]
    with pytest.raises(InputError, match="stage zero left results, no records"):
        results(tmp_path).records()


def test_a_stage_without_a_checkpoint_has_no_model(tmp_path: Path):
    with pytest.raises(InputError, match="stage zero left results, no checkpoint; name a stage that trains"):
        results(tmp_path).model()


def test_the_chat_format_is_the_stages_own_or_its_probes():
    own, others = {"@": "data.chat.ChatFormat", "user": "U:"}, {"@": "data.chat.ChatFormat", "user": "P:"}
    assert chat_of({"chat": own, "probe": {"chat": others}}) == ChatFormat(user="U:")
    assert chat_of({"probe": {"chat": others}}) == ChatFormat(user="P:")
    assert chat_of({"steps": 3, "probe": None}) is None


def test_a_chat_format_whose_functions_are_not_at_hand_is_refused_with_what_to_do():
    settings = {"chat": describe(ChatFormat()) | {"turns": "@no_such_family.shouted"}}
    with pytest.raises(InputError, match="chat format can't be read: @no_such_family.shouted.*start where its module"):
        chat_of(settings)


@pytest.mark.parametrize("chat", formats().values(), ids=formats())
def test_a_familys_chat_format_comes_back_from_what_was_recorded(chat: ChatFormat):
    assert chat_of(json.loads(json.dumps({"chat": describe(chat)}))) == chat


def test_steps_are_told_in_spans():
    assert spans([1, 2, 3, 7, 9, 10]) == "1 to 3, 7, 9 to 10" and spans([]) == ""
