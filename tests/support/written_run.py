"""A finished run of the whole workflow, written by hand in milliseconds: for whatever reads runs.

Its shape is that of ``experiments/r1_tiny.gin``, and all of its text tries to get out of a page.
"""

import json
import math
import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from reasoning.core.hashes import hash_json
from reasoning.core.statistics import mean_over_problems, mean_with_interval, pass_at_k
from reasoning.evaluation.results import SAMPLES, Replies, Results, Score, Scores, write_results, write_samples
from reasoning.findings.evaluations import Evaluation, Samples
from reasoning.findings.facts import Facts

HOSTILE = (
    "</td></tr></table><script>document.title='taken'</script><img src=x onerror=alert(1)> "
    "<svg onload=alert(2)> | `x` **b** [a](javascript:alert(3)) &lt; \"' https://example.com \u202egnp\x1b[31m"
)
PROBLEMS, DRAWN = 60, 8
KINDS = ("chains", "cups")
LEARNS_FROM = {"Pretrain": "text", "SFT": "examples", "Distill": "teacher", "GRPO": "rewards"}


@dataclass(frozen=True)
class Written:
    """A stage to be written; ``accuracy`` is what its checkpoint gets right of ``chains`` and ``cups``.

    ``learns_from`` is by default what the stages of this project say of themselves.
    """

    name: str
    kind: str
    holds: str
    parents: dict[str, list[str]] = field(default_factory=dict)
    results: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    accuracy: tuple[float, float] | None = None
    learns_from: str = ""


def workflow() -> list[Written]:
    """The stages of the toy workflow, parents first."""
    packed = {"documents": 90100, "rows": 22000, "tokens": 1.5e6}
    return [
        Written("corpus", "Prepare", "records", {}, packed),
        _learner("base", "Pretrain", {"data": ["corpus"]}, 120, (0.27, 0.14)),
        _learner("zero", "GRPO", {"start": ["base"]}, 45, (0.91, 0.79)),
        _collector("cold_data", {"start": ["zero"]}, 200, 1024),
        Written("cold_rows", "Prepare", "records", {"conversations": ["cold_data"], "tokenizer": ["corpus"]}, packed),
        _learner("cold", "SFT", {"start": ["base"], "data": ["cold_rows"]}, 14, (0.65, 0.6)),
        _learner("rl1", "GRPO", {"start": ["cold"]}, 30, (0.92, 0.81)),
        _collector("cot_data", {"start": ["rl1"]}, 2200, 5120),
        Written("knowledge_data", "WriteAnswers", "records", {"tokenizer": ["corpus"]}, {"kept": 30}),
        Written(
            "sft2_rows", "Prepare", "records",
            {"conversations": ["cot_data", "knowledge_data"], "tokenizer": ["corpus"]}, packed,
        ),
        _learner("sft2", "SFT", {"start": ["base"], "data": ["sft2_rows"]}, 190, (0.955, 0.95)),
        _learner("r1", "GRPO", {"start": ["sft2"]}, 40, (0.96, 0.96)),
        _learner("llama_weak", "Pretrain", {"data": ["corpus"]}, 15, (0.03, 0.1)),
        _learner("llama_weak_sft", "SFT", {"start": ["llama_weak"], "data": ["sft2_rows"]}, 28, (0.8, 0.7)),
        _learner("llama_weak_rl", "GRPO", {"start": ["llama_weak"]}, 30, (0.09, 0.1)),
        _learner("llama_weak_kl", "Distill", {"start": ["llama_weak"], "teacher": ["r1"], "data": ["sft2_rows"]}, 28,
                 (0.79, 0.7)),
        _learner("qwen_base", "Pretrain", {"data": ["corpus"]}, 60, (0.08, 0.12)),
        _learner("qwen_sft", "SFT", {"start": ["qwen_base"], "data": ["sft2_rows"]}, 28, (0.9, 0.8)),
        Written("exam", "Evaluate", "results", {"checkpoints": ["base", "zero", "cold", "rl1", "sft2", "r1"]}),
        Written(
            "students", "Evaluate", "results",
            {"checkpoints": ["r1", "llama_weak", "llama_weak_sft", "llama_weak_rl", "llama_weak_kl", "qwen_base",
                             "qwen_sft"]},
        ),
    ]  # fmt: skip


def write_run(folder: Path, stages: list[Written] | None = None) -> Path:
    """Writes the run and gives its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    stages = workflow() if stages is None else stages
    hashes: dict[str, str] = {}
    by_name = {stage.name: stage for stage in stages}
    entries = []
    for stage in stages:
        hashes[stage.name] = hash_json({"name": stage.name, "parents": stage.parents})
        place = folder / "artifacts" / f"{stage.name}-{hashes[stage.name][:12]}"
        _write_stage(place, stage, hashes, by_name)
        relative = str(place.relative_to(folder))
        entries.append({"stage": stage.name, "folder": relative, "hash": hashes[stage.name], "finished": True})
    (folder / "run.json").write_text(json.dumps({"stages": entries}))
    (folder / "resolved.gin").write_text("run = @pipeline.Run\n")
    return folder


def place_of(folder: Path, stage: str) -> Path:
    """Where a stage of a written run lies."""
    [found] = (folder / "artifacts").glob(f"{stage}-????????????")
    return found


def _learner(name: str, kind: str, parents: dict[str, list[str]], steps: int, accuracy: tuple[float, float]) -> Written:
    results = {"tokens": steps * 12000, "flops": steps * 2.5e10}
    return Written(name, kind, "checkpoint", parents, results, steps, accuracy)


def _collector(name: str, parents: dict[str, list[str]], kept: int, sampled: int) -> Written:
    return Written(
        name,
        "Collect",
        "records",
        parents,
        {"kept": kept, "sampled": sampled, "tokens": 25 * sampled, "flops": 1e6 * sampled},
    )


def _write_stage(place: Path, stage: Written, hashes: dict[str, str], by_name: dict[str, Written]) -> None:
    place.mkdir(parents=True)
    if stage.holds != "results":
        (place / stage.holds).mkdir()
    record = {
        "stage": stage.name,
        "kind": stage.holds,
        "learns_from": stage.learns_from or LEARNS_FROM.get(stage.kind, "nothing"),
        "hash": hashes[stage.name],
        "array_hash": None,
        "seed": 0,
        "mesh": {"data": 2},
        "sources": {},
        "parents": {name: [hashes[parent] for parent in names] for name, names in stage.parents.items()},
        "settings": _settings(stage),
        "results": stage.results,
        "environments": [_environment()],
    }
    (place / "artifact.json").write_text(json.dumps(record))
    chance = random.Random(stage.name)
    if stage.steps:
        _lines(place / "metrics.jsonl", [_metrics(stage, step, chance) for step in range(1, stage.steps + 1)])
        (place / "timings.jsonl").write_text('{"step": 1, "seconds": 123456.789}\n')
    if stage.kind == "GRPO":
        _lines(place / "probes.jsonl", [_probe(step, number) for step in (0, 15, 30) for number in range(3)])
    if stage.kind == "Evaluate":
        _exam(place, stage, [by_name[name] for name in stage.parents["checkpoints"]], chance)


def _settings(stage: Written) -> dict[str, Any]:
    probe = {"@": "stages.Exam", "scores": ["@rewards.accuracy.strict", "@rewards.accuracy.lenient"]}
    settings = {"@": f"stages.{stage.kind}", "name": stage.name, "note": HOSTILE, **stage.parents}
    if stage.kind == "Evaluate":
        return settings | {"quiz": {"problems": {"split": _split(stage)}}}
    return settings | ({"probe": probe, "optimizer": {"@": "training.optimizers.AdamW", "learning_rate": 5e-4}})


def _environment() -> dict[str, Any]:
    return {
        "code": {"version": "0.1.0", "commit": "0123456789abcdef", "changed": False, "source": "00"},
        "device": {"kind": "cpu", "count": 2, "processes": 1},
        "flags": {},
        "libraries": {"jax": "0.10.2"},
        "python": "3.11.7",
    }


def _metrics(stage: Written, step: int, chance: random.Random) -> dict[str, Any]:
    done = step / stage.steps
    row: dict[str, Any] = {"step": step, "loss": 4.4 * math.exp(-3 * done) + chance.gauss(0, 0.05)}
    if stage.kind != "GRPO":
        return row | ({"kl": 1.1 - done} if stage.kind == "Distill" else {"cross_entropy": row["loss"]})
    strict = min(1.0, max(0.0, 0.1 + 0.85 * done + chance.gauss(0, 0.06)))
    row |= {"loss": chance.gauss(0, 0.05), "entropy": 1.2 - done, "rewards/strict/mean": strict}
    row |= {"rewards/tagged/mean": done, "reward": strict + 0.1 * done, "completions/mean_length": 10 + 15 * done}
    row |= {"completions/correct_mean_length": 12 + 15 * done}
    return row | ({"probe/strict": strict, "probe/lenient": strict, "probe/mean_length": 20} if step % 15 == 0 else {})


def _probe(step: int, number: int) -> dict[str, Any]:
    right = step >= 15 * number
    text = HOSTILE if number == 0 else f"<think>{step}+{number}={step + number}</think><answer>{number}</answer>"
    scores = {"strict": float(right), "lenient": float(right or number == 1), "tagged": 1.0}
    return {"step": step, "problem": number, "question": f"{number}+0?", "answer": f"{number}", "text": text,
            "scores": scores}  # fmt: skip


def _split(exam: Written) -> str:
    return "test" if exam.name == "exam" else "train"


def _exam(place: Path, exam: Written, checkpoints: list[Written], chance: random.Random) -> None:
    """Each checkpoint's samples are drawn once; its greedy reply is the first of them, and so are those in styles."""
    sampled = {stage.name: [_answers(stage, number, chance) for number in range(PROBLEMS)] for stage in checkpoints}
    kinds = {
        name: {kind: _table([row for row in rows if row.kind == kind]) for kind in KINDS}
        for name, rows in sampled.items()
    }
    styles = {name: {style: _table(rows) for style in ("direct", "think")} for name, rows in sampled.items()}
    write_results(place, Results({name: _table(rows) for name, rows in sampled.items()}, kinds, styles, _split(exam)))
    replies = [
        replace(row, style=style) if style else row
        for rows in sampled.values()
        for style in ("", "direct", "think")
        for row in ([*map(_greedy, rows), *rows] if not style else rows)
    ]
    write_samples(place / SAMPLES, replies)


def _answers(stage: Written, number: int, chance: random.Random) -> Replies:
    accuracy = (stage.accuracy or (0.0, 0.0))[number % 2]
    strict = tuple(float(chance.random() < accuracy) for _ in range(DRAWN))
    lenient = tuple(float(value or chance.random() < 0.1) for value in strict)
    return Replies(
        checkpoint=stage.name,
        problem=number,
        question=f"{number}+{HOSTILE if number == 1 else 1}?",
        answer=str(number % 10),
        kind=KINDS[number % 2],
        method="samples",
        texts=("=",) * DRAWN,
        lengths=(25,) * DRAWN,
        log_probs=(-1.0,) * DRAWN,
        answers=(None,) * DRAWN,
        scores={"strict": strict, "lenient": lenient, "tagged": (1.0,) * DRAWN},
    )


def _greedy(row: Replies) -> Replies:
    text = HOSTILE if row.problem == 0 else f"={row.problem % 10}"
    scores = {name: values[:1] for name, values in row.scores.items()}
    one = {"lengths": (25,), "log_probs": (-1.0,), "answers": (None,)}
    return replace(row, method="greedy", texts=(text,), scores=scores, **one)


def _table(rows: list[Replies]) -> Scores:
    columns = {}
    for name in ("strict", "lenient"):
        values = np.array([row.scores[name] for row in rows])
        columns[f"{name}/greedy"] = mean_over_problems(values[:, 0])
        columns[f"{name}/pass@1"] = mean_over_problems(values)
        right = values.sum(axis=1).astype(int)
        columns[f"{name}/pass@{DRAWN}"] = mean_over_problems(pass_at_k(right, DRAWN, DRAWN))
        for vote in (f"majority@{DRAWN}", f"weighted@{DRAWN}", "beam@4"):
            columns[f"{name}/{vote}"] = mean_over_problems((values.mean(axis=1) > 0.5).astype(float))
    columns["tagged"] = mean_over_problems(np.array([row.scores["tagged"] for row in rows]))
    columns["length"] = mean_with_interval(np.array([20.0 + row.problem % 7 for row in rows]))
    columns["distinct"] = mean_with_interval(np.array([1.0 + row.problem % 3 for row in rows]))
    return {name: Score(each.mean, each.low, each.high, each.count) for name, each in columns.items()}


def _lines(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def with_results(evaluation: Evaluation, **changes: Any) -> Evaluation:
    """The same evaluation with other tables."""
    return replace(evaluation, results=replace(evaluation.results, **changes))


def with_samples(facts: Facts, samples: Samples) -> Facts:
    """The same facts, as if the first evaluation had kept these replies."""
    first, *others = facts.evaluations
    return replace(facts, evaluations=(replace(first, samples=samples), *others))
