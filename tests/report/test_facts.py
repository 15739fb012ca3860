import shutil

import pytest
from written_run import place_of

from reasoning.core.errors import InputError
from reasoning.report.facts import gather


def test_a_whole_run_misses_nothing(facts):
    assert facts.missing == () and facts.repeatable
    assert [evaluation.stage for evaluation in facts.evaluations] == ["exam", "students"]
    assert set(facts.samples["exam"]) == {"base", "zero", "cold", "rl1", "sft2", "r1"}


def test_the_lineage_of_a_checkpoint_follows_its_starts_alone(facts):
    assert facts.lineage("rl1") == ("cold", "base")
    assert facts.lineage("r1") == ("sft2", "base") and facts.lineage("base") == () == facts.lineage("unknown")


def test_examples_and_teachers_teach_and_rewards_do_not(facts):
    assert [name for name in ("base", "zero", "cold", "llama_weak_kl") if facts.taught(name)] == [
        "cold",
        "llama_weak_kl",
    ]


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
    assert [evaluation.stage for evaluation in found.evaluations] == ["exam"] and found.samples["exam"] == {}
    assert len(found.missing) == 3 and not found.repeatable and len(found.stages) == 20
    assert not any(str(folder) in text for text in found.missing)
