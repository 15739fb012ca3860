"""What an uninterrupted run of the miniature leaves, and that the comparison of others with it sees what differs."""

import json
import shutil
from pathlib import Path

import pytest
from miniature import differences, graph, lasting_content, learning_stages

from reasoning.use.run_folder import open_run

pytestmark = pytest.mark.slow


def test_the_miniature_runs_every_stage_and_every_one_learns(reference: Path):
    run = open_run(reference)
    assert list(run) == list(graph())
    hashes = {run[stage].record()["array_hash"] for stage in learning_stages()}
    assert len(hashes) == len(learning_stages())
    for stage, steps in learning_stages().items():
        rows = run[stage].metrics()
        assert [row["step"] for row in rows] == list(range(1, steps + 1))
        # Some GRPO steps draw no group with unequal rewards, and such a step rightly changes nothing.
        assert sum(row["grad_norm"] > 0 for row in rows) > steps / 2, stage


def test_arrays_on_disk_are_those_that_the_record_names(reference: Path):
    run = open_run(reference)
    for stage in learning_stages():
        artifact = run[stage]
        stored = lasting_content(reference)[f"arrays of {artifact.checkpoint.relative_to(reference)}"]
        assert stored == artifact.record()["array_hash"]


def test_the_comparison_sees_a_changed_byte_another_array_and_a_missing_file(reference: Path, tmp_path: Path):
    other = tmp_path / "other"
    shutil.copytree(reference, other)
    run = open_run(other)
    base, exam = run["base"].path, run["exam"].path
    metrics, record, samples = base / "metrics.jsonl", base / "artifact.json", exam / "samples.jsonl"
    metrics.write_bytes(metrics.read_bytes().replace(b'"step": 7', b'"step": 8'))
    record.write_text(json.dumps(json.loads(record.read_text()) | {"array_hash": "0"}))
    samples.unlink()
    shutil.rmtree(base / "checkpoint")
    shutil.copytree(run["zero"].checkpoint, base / "checkpoint")
    expected = [f"arrays of {(base / 'checkpoint').relative_to(other)}"]
    expected += [str(path.relative_to(other)) for path in (record, metrics, samples)]
    assert differences(reference, other) == sorted(expected)
