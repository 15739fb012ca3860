import json
import re
import shutil
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from written_run import place_of, workflow, write_run

from reasoning.core.artifact import files_under
from reasoning.core.errors import InputError
from reasoning.findings.facts import gather, read_stages
from reasoning.training.metrics import rollouts_file


def test_a_whole_run_misses_nothing(facts):
    assert facts.missing == () and facts.repeatable
    assert [evaluation.stage for evaluation in facts.evaluations] == ["exam", "students"]
    assert set(facts.evaluations[0].samples) == {"base", "zero", "cold", "rl1", "sft2", "r1"}


def test_the_lineage_of_a_checkpoint_follows_its_starts_alone(facts):
    assert facts.lineage("rl1") == ("cold", "base")
    assert facts.lineage("r1") == ("sft2", "base") and facts.lineage("base") == () == facts.lineage("unknown")


def test_examples_and_teachers_teach_and_rewards_do_not(facts):
    assert [name for name in ("base", "zero", "cold", "llama_weak_kl") if facts.taught(name)] == [
        "cold",
        "llama_weak_kl",
    ]


def test_a_root_has_no_checkpoint_above_it_and_a_tokenizer_that_was_lent_makes_none(facts):
    assert [name for name in ("base", "zero", "corpus", "unknown") if facts.is_root(name)] == ["base"]
    base = facts.stage("base")
    lent = replace(base, parents={**base.parents, "tokenizer": ("r1",)})
    assert facts.made_from(lent) == () and facts.made_from(facts.stage("llama_weak_kl")) == ("llama_weak", "r1")


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a run's folder"):
        gather(tmp_path)


def test_whatever_is_damaged_the_rest_is_still_there(written, tmp_path):
    folder = shutil.copytree(written, tmp_path / "run")
    (place_of(folder, "exam") / "samples.jsonl").unlink()
    (place_of(folder, "students") / "results.json").write_text('{"checkpoints": 3}')
    (place_of(folder, "zero") / "metrics.jsonl").write_bytes(b"\xff\n")
    (folder / "resolved.gin").unlink()
    found = gather(folder)
    [exam] = found.evaluations
    assert exam.stage == "exam" and exam.samples == {}
    assert len(found.missing) == 3 and not found.repeatable and len(found.stages) == 20
    assert not any(str(folder) in text for text in found.missing)


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "run")


def test_stages_come_in_order_with_kind_parents_and_rows(written):
    missing = []
    found = {stage.name: stage for stage in read_stages(written, missing.append)}
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
    r1 = next(stage for stage in read_stages(folder, missing.append) if stage.name == "r1")
    assert r1.artifact is None and r1.kind == "GRPO" and len(r1.metrics) == 40
    assert "stage r1 has not finished; the same command goes on with it" in missing
    assert any("metrics.jsonl:41: the last line is not finished" in text for text in missing)


def test_a_lost_folder_and_a_damaged_record_are_said_without_the_run_s_own_path(folder):
    shutil.rmtree(place_of(folder, "cold"))
    (place_of(folder, "zero") / "artifact.json").write_text("[1")
    gathered = gather(folder)
    found, missing = {stage.name: stage for stage in gathered.stages}, gathered.missing
    assert found["cold"].artifact is None and found["zero"].artifact is None and found["rl1"].artifact is not None
    assert len(missing) == 2 and not any(str(folder) in text for text in missing)
    assert any("artifacts/cold-" in text for text in missing) and any("artifact.json:1" in text for text in missing)


def test_a_damaged_list_of_stages_is_an_error(folder):
    (folder / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json"):
        read_stages(folder, str)


def test_a_stage_that_lost_files_is_told_and_what_is_left_is_reported(tmp_path):
    folder = write_run(tmp_path / "run")
    place = place_of(folder, "exam")
    record = json.loads((place / "artifact.json").read_text())
    (place / "artifact.json").write_text(json.dumps(record | files_under(place)))
    whole = gather(folder)
    assert whole.missing == ()
    (place / "samples.jsonl").write_text("")
    damaged = gather(folder)
    assert damaged.stage("exam").results == whole.stage("exam").results
    assert damaged.evaluations[0].results == whole.evaluations[0].results
    [told] = damaged.missing
    assert re.match(
        r"stage exam is damaged: artifacts/exam-\w+/samples.jsonl has 0 bytes, \d+ were written; move", told
    )


def test_what_rewards_paid_best_is_gathered_and_a_damaged_file_of_rollouts_is_said_and_left_out(written, tmp_path):
    folder = shutil.copytree(written, tmp_path / "run")
    for stage, content in (("zero", b""), ("rl1", b"rubbish")):
        file = rollouts_file(place_of(folder, stage), 3)
        file.parent.mkdir()
        file.write_bytes(content)
    row = {"group": 0, "sample": 0, "prompt": "1+1?", "completion": "=2", "answer": "2", "kind": "sums", "reward": 1.0,
           "rewards/strict": 1.0, "advantage": 0.0, "length": 2, "truncated": False}  # fmt: skip
    pq.write_table(pa.Table.from_pylist([row]), rollouts_file(place_of(folder, "zero"), 3))
    gathered = gather(folder)
    best = gathered.stage("zero").best
    assert best.step == 3 and best.rewards["strict"][0].completions[0].text == "=2"
    assert gathered.stage("rl1").best is None and gathered.stage("base").best is None
    [said] = gathered.missing
    assert "step_000003.parquet is damaged" in said and "--from rl1" in said
