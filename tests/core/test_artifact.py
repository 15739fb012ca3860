import json

import pytest

from reasoning.core import artifact
from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError

RECORD = {"kind": "results", "stage": "exam", "hash": "ab12", "results": {"accuracy": 0.5}, "seed": 3}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "artifact.json").write_text(json.dumps(RECORD))
    return tmp_path


def change(folder, **changes):
    (folder / "artifact.json").write_text(json.dumps(RECORD | changes))


def test_reading_gives_the_record_back(folder):
    found = artifact.read_artifact(folder)
    assert found == Artifact(folder, "results", "exam", "ab12", {"accuracy": 0.5})
    assert found.record()["seed"] == 3


def test_a_missing_artifact_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match="no artifact at .*nowhere"):
        artifact.read_artifact(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["{", "[]", "", '{"kind": "results"}', json.dumps(RECORD | {"kind": "cake"})])
def test_a_damaged_record_is_refused(folder, text):
    (folder / "artifact.json").write_text(text)
    with pytest.raises(InputError, match="artifact.json"):
        artifact.read_artifact(folder)


def test_an_unfinished_artifact_is_refused(folder):
    change(folder, kind=None)
    with pytest.raises(InputError, match="unfinished"):
        artifact.read_artifact(folder)


@pytest.mark.parametrize("kind", ["checkpoint", "records"])
def test_an_artifact_without_its_content_is_refused(folder, kind):
    change(folder, kind=kind)
    with pytest.raises(InputError, match=f"lost its {kind}"):
        artifact.read_artifact(folder)
    (folder / kind).mkdir()
    found = artifact.read_artifact(folder)
    assert (found.checkpoint if kind == "checkpoint" else found.records_folder) == folder / kind


def test_rows_survive_line_separators_inside_texts(folder):
    rows = [{"text": "a\u2028b\rc"}, {"text": "d"}]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "samples.jsonl").write_bytes(lines.encode())
    assert artifact.read_artifact(folder).samples() == rows


def test_no_metrics_file_means_no_rows(folder):
    assert artifact.read_artifact(folder).metrics() == []


@pytest.mark.parametrize("line", ["{", "3", '{"a": 1'])
def test_a_damaged_row_is_named_by_file_and_line(folder, line):
    (folder / "metrics.jsonl").write_text('{"step": 1}\n' + line + "\n")
    with pytest.raises(InputError, match=r"metrics\.jsonl:2"):
        artifact.read_artifact(folder).metrics()
