"""The workflow on a pretrained model runs through every stage: here on a tiny one in the form of real ones."""

import json
from pathlib import Path

import pytest
from gguf_file import write
from shipped import run_shipped

from reasoning.data.chat.formats import SMOLLM_2
from reasoning.use.run_folder import open_run

STEPS = {name: 2 for name in ("zero", "cold", "rl1", "sft2", "r1", "student_sft", "student_kl")}
OVERRIDES = {
    **{f"{stage}.steps": steps for stage, steps in STEPS.items()},
    **{
        f"{stage}.{field}": size
        for stage in ("zero", "rl1", "r1")
        for field, size in (("questions", 2), ("samples", 4))
    },
    **{f"{stage}.max_new_tokens": 8 for stage in ("zero", "rl1", "r1", "cold_data", "cot_data")},
    **{f"{stage}.microbatches": 1 for stage in ("zero", "rl1", "r1")},
    **{f"{stage}.batch": 4 for stage in ("cold", "sft2", "student_sft", "student_kl")},
    # A model of random weights is never right, but sometimes it ends.
    **{f"{stage}.keep": "(@rewards.numbers.finished,)" for stage in ("cold_data", "cot_data")},
    "base.compute_dtype": "'float32'",
    "base.context": 1024,
    "cold_data.wanted": 8,
    "cold_data.batch": 4,
    "cot_data.samples": 1,
    "train.count": 16,
    "everything.count": 16,
    "everything.distinct": "(8, 4, 2, 2)",
    "held_out.count": 4,
    "quiz.max_new_tokens": 8,
    "quiz.samples": 2,
    "samples.ks": "()",
    "samples.votes": "(2,)",
    "exam.checkpoints": "(base, r1, student_kl)",
    "run.stages": "(base, zero, cold, rl1, sft2, r1, student_sft, student_kl, exam)",
    "chat.default_system": "'Think.'",  # the template in bytes would be the longest part of each row
    "student.layers": "(0, 1)",
    "taught.count": 8,
    "run.cpu_devices": 2,
}


def questions(path: Path) -> Path:
    """Eighty short questions in GSM8K's form."""
    rows = [{"question": f"Tom has {n} pens. How many?", "answer": f"Tom has {n}.\n#### {n}"} for n in range(80)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.slow
def test_the_workflow_of_a_pretrained_model_runs_through_every_stage(tmp_path: Path):
    write(tmp_path / "model.gguf")
    given = {
        **OVERRIDES,
        "model": f"'{tmp_path / 'model.gguf'}'",
        "problems_file": f"'{questions(tmp_path / 'gsm8k.jsonl')}'",
    }
    run_shipped("r1_smollm2.gin", given, tmp_path / "run")
    run = open_run(tmp_path / "run")
    assert {*STEPS, "base", "cold_data", "cot_data", "knowledge_data", "student", "exam"} <= set(run)
    assert {f"{stage}/accuracy/pass@1" for stage in ("base", "r1", "student_kl")} <= set(run["exam"].results)
    assert run["student"].model(SMOLLM_2).config.layers == 2
