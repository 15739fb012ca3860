import json
import shutil

import pytest
from written_run import place_of, workflow

from reasoning.core.errors import InputError
from reasoning.report.stages import Complaints, numbers, read_stages, rows


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "run")


def test_stages_come_in_order_with_kind_parents_and_rows(written):
    missing = []
    found = {stage.name: stage for stage in read_stages(written, missing)}
    assert missing == []
    assert list(found) == [stage.name for stage in workflow()]
    kl = found["llama_weak_kl"]
    assert kl.kind == "Distill" and kl.parents == {
        "start": ("llama_weak",),
        "teacher": ("r1",),
        "data": ("sft2_rows",),
    }
    assert len(kl.metrics) == 28 and len(found["zero"].probes) == 9
    assert found["cold_data"].results["kept"] == 200


def test_a_stage_that_has_not_finished_is_said_and_read_as_far_as_it_has_come(folder):
    place = place_of(folder, "r1")
    partial = place.with_name(f".{place.name}.partial")
    place.rename(partial)
    run = json.loads((folder / "run.json").read_text())
    entry = next(entry for entry in run["stages"] if entry["stage"] == "r1")
    entry["finished"] = False
    (folder / "run.json").write_text(json.dumps(run))
    with open(partial / "metrics.jsonl", "a") as file:
        file.write('{"step": 41, "rew')
    missing = []
    r1 = next(stage for stage in read_stages(folder, missing) if stage.name == "r1")
    assert r1.artifact is None and r1.kind == "GRPO" and len(r1.metrics) == 40
    assert "stage r1 has not finished; the same command goes on with it" in missing
    assert any("metrics.jsonl:41: the last line is not finished" in text for text in missing)


def test_a_lost_folder_and_a_damaged_record_are_said_without_the_run_s_own_path(folder):
    shutil.rmtree(place_of(folder, "cold"))
    (place_of(folder, "zero") / "artifact.json").write_text("[1")
    missing = []
    found = {stage.name: stage for stage in read_stages(folder, missing)}
    assert found["cold"].artifact is None and found["zero"].artifact is None and found["rl1"].artifact is not None
    assert len(missing) == 2 and all(text.split()[-1] and str(folder) not in text for text in missing)
    assert any("artifacts/cold-" in text for text in missing) and any("artifact.json:1" in text for text in missing)


def test_a_damaged_list_of_stages_is_an_error(folder):
    (folder / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json"):
        read_stages(folder, [])


@pytest.mark.parametrize(
    ("content", "count", "complaint"),
    [
        (b'{"a": 1}\n{"a": 2}\n', 2, None),
        (b'{"a": 1}\n{"a": NaN}\n{"a": 3}\n', 1, "rows.jsonl:2: not plain JSON"),
        (b'{"a": 1}\n[2]\n', 1, "rows.jsonl:2: not a JSON object"),
        (b'{"a": 1}\n\xff\n', 1, "rows.jsonl:2"),
        (b"", 0, None),
    ],
)
def test_rows_are_read_up_to_the_first_damaged_one(tmp_path, content, count, complaint):
    (tmp_path / "rows.jsonl").write_bytes(content)
    missing = []
    assert len(rows(tmp_path / "rows.jsonl", Complaints(tmp_path, missing))) == count
    assert (missing == []) if complaint is None else (complaint in missing[0] and str(tmp_path) not in missing[0])


def test_no_file_has_no_rows_and_a_folder_in_its_place_is_said(tmp_path):
    missing = []
    assert rows(tmp_path / "none.jsonl", Complaints(tmp_path, missing)) == () and missing == []
    assert rows(tmp_path, Complaints(tmp_path.parent, missing)) == () and "can't be read" in missing[0]


def test_only_numbers_count_as_numbers():
    assert numbers({"a": 1, "b": 2.5, "c": True, "d": "3", "e": None}) == {"a": 1, "b": 2.5}
