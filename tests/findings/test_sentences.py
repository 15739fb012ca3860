import json
import shutil
from dataclasses import replace

import pytest
from written_run import Written, place_of, with_results, with_samples, write_run

from reasoning.core.sealed import write_sealed
from reasoning.findings.facts import gather
from reasoning.findings.sentences import listed, sentences


def test_names_are_listed_as_in_prose():
    assert [listed(names) for names in ((), ("a",), ("a", "b"), ("a", "b", "c"))] == ["", "a", "a and b", "a, b and c"]


@pytest.mark.parametrize(
    ("stage", "begins"),
    [
        ("corpus", "packed 90,100 documents into 22,000 rows (1.5 M tokens)."),
        ("base", "learnt to predict the text of corpus: loss "),
        ("zero", "reinforcement learning alone lifted lenient pass@1 in exam from 0.28 to 0.85 (+57 points, 95 % "),
        ("cold_data", "kept 200 of 1,024 replies of zero (19.5 %)."),
        ("cold", "training on cold_data lifted lenient pass@1 in exam from 0.28 to "),
        ("rl1", "reinforcement learning lifted lenient pass@1 in exam from "),
        ("knowledge_data", "wrote 30 examples."),
        ("sft2_rows", "packed 90,100 conversations of cot_data and knowledge_data into 22,000 rows"),
        ("llama_weak_kl", "learning from the teacher r1 lifted lenient pass@1 in students from "),
        ("exam", "asked base, zero, cold, rl1, sft2 and r1 the same 60 held-out problems; the highest "),
    ],
)  # fmt: skip
def test_each_kind_of_stage_is_told_by_its_graph_and_numbers(facts, stage, begins):
    assert dict(sentences(facts))[stage].startswith(begins)


def test_where_the_interval_holds_zero_nothing_is_claimed(facts):
    told = dict(sentences(facts))["r1"]
    assert told.startswith("reinforcement learning: can't tell whether lenient pass@1 in exam changed (0.97 before")
    assert "lifted" not in told and "lowered" not in told


def test_a_loss_of_accuracy_is_called_one(facts, written, tmp_path):
    folder = shutil.copytree(written, tmp_path / "run")
    file = place_of(folder, "exam") / "samples.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    swap = {"base": "zero", "zero": "base"}
    rows = [row | {"checkpoint": swap.get(row["checkpoint"], row["checkpoint"])} for row in rows]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    results = json.loads((place_of(folder, "exam") / "results.json").read_text())
    tables = results["checkpoints"]
    tables["base"], tables["zero"] = tables["zero"], tables["base"]
    del results["sha256"]
    write_sealed(place_of(folder, "exam") / "results.json", results)
    assert (
        "alone lowered lenient pass@1 in exam from 0.85 to 0.28 (−57 points" in dict(sentences(gather(folder)))["zero"]
    )


def test_without_samples_means_are_told_and_the_missing_interval_is_said(facts):
    told = dict(sentences(with_samples(facts, {})))["zero"]
    assert told == "reinforcement learning alone: lenient pass@1 in exam from 0.28 to 0.85 (no paired interval)."


def test_models_that_are_all_alike_have_no_leader(facts):
    exam = facts.evaluations[0]
    alike = with_results(exam, checkpoints=dict.fromkeys(exam.checkpoints, exam.checkpoints["base"]))
    told = dict(sentences(replace(facts, evaluations=(alike,))))["exam"]
    assert told.endswith("lenient pass@1 is 0.28 for all of them.")


def test_an_unfinished_stage_and_one_of_the_user_s_own_are_told_too(tmp_path):
    folder = write_run(tmp_path / "run", [Written("mine", "Mine", "results", {}, {"steps": 6, "x": 0.123456})])
    assert sentences(gather(folder)) == (("mine", "steps 6, x 0.1235."),)
    shutil.rmtree(place_of(folder, "mine"))
    assert sentences(gather(folder)) == (("mine", "has not finished."),)


def test_a_learning_stage_without_an_exam_is_told_by_its_curve(tmp_path):
    stages = [Written("base", "Pretrain", "checkpoint", {}, {}, 30), Written("own", "Own", "checkpoint")]
    told = dict(sentences(gather(write_run(tmp_path / "run", stages))))
    assert told["base"].startswith("learnt to predict the text of its data: loss 3.") and told["own"] == "Own finished."


def test_a_model_that_was_brought_in_says_from_where_and_a_cut_one_what_was_left(tmp_path):
    stages = [
        Written("base", "Pretrained", "checkpoint"),
        Written("student", "Cut", "checkpoint", {"start": ["base"]}),
    ]
    folder = write_run(tmp_path / "run", stages)
    for stage, setting in (("base", {"path": "models/x"}), ("student", {"layers": [0, 9, 19]})):
        file = place_of(folder, stage) / "artifact.json"
        record = json.loads(file.read_text())
        file.write_text(json.dumps(record | {"settings": record["settings"] | setting}))
    assert dict(sentences(gather(folder))) == {
        "base": "brought in from models/x.",
        "student": "layers 0, 9 and 19 of base.",
    }


def test_a_stage_of_the_user_s_own_is_told_by_what_it_learns_from(tmp_path):
    exam = Written("exam", "Evaluate", "results", {"checkpoints": ["base", "mine", "odd"]})
    stages = [
        Written("base", "Pretrain", "checkpoint", accuracy=(0.3, 0.1)),
        Written("mine", "PPO", "checkpoint", {"start": ["base"]}, accuracy=(0.9, 0.9), learns_from="rewards"),
        Written("odd", "Soup", "checkpoint", {"start": ["base"]}, accuracy=(0.9, 0.9)),
        exam,
    ]
    told = dict(sentences(gather(write_run(tmp_path / "run", stages))))
    assert told["mine"].startswith("reinforcement learning alone lifted lenient pass@1 from ")
    assert told["odd"].startswith("Soup lifted lenient pass@1 from ")


def test_a_training_that_exploded_is_said_behind_whatever_else_is(tmp_path):
    results = {"tokens": 5.0, "exploded/parameters": 2e6, "exploded/first_loss": 4.0, "exploded/loss": 1e5}
    stages = [
        Written("well", "SFT", "checkpoint", {}, {"tokens": 5.0}, 3, (0.2, 0.2)),
        Written("vast", "SFT", "checkpoint", {}, results, 3, (0.2, 0.2)),
    ]
    told = dict(sentences(gather(write_run(tmp_path / "run", stages))))
    assert "WARNING" not in told["well"]
    assert "WARNING: its training exploded: its parameters end with a root mean square of 2e+06" in told["vast"]
    assert "its loss at 1e+05 from 4;" in told["vast"]


def test_what_was_left_out_of_files_is_told(facts):
    corpus = next(stage for stage in facts.stages if stage.name == "corpus")
    counts = {"looked_at": 5000, "removed": 1201, "removed/exact duplicates": 1200, "removed/with questions of exam": 1}
    artifact = replace(corpus.artifact, results={**corpus.results, **counts})
    stages = [replace(each, artifact=artifact) if each is corpus else each for each in facts.stages]
    assert dict(sentences(replace(facts, stages=tuple(stages))))["corpus"] == (
        "packed 90,100 documents into 22,000 rows (1.5 M tokens); of 5,000 documents read from files 1,201 were left "
        "out: 1,200 exact duplicates, 1 with questions of exam."
    )
