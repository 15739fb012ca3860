"""Rejection sampling: what is kept passed every test, comes once, and survives an interruption."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_stages import BASE, NEW_TOKENS, TRAIN, Surroundings, work

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.records import read_records, take_rows
from reasoning.stages.checkpoint import tokenizer_of
from reasoning.stages.collect import Collect
from reasoning.training.preemption import Interrupted


def short(completions: list[str], truncated: list[bool], **columns: Any) -> list[float]:
    """1 for replies that end early, which even a hardly trained model writes now and then."""
    return [float(not cut) for cut in truncated]


def says_something(completions: list[str], **columns: Any) -> list[float]:
    return [float(len(text) > 1) for text in completions]


def never(completions: list[str], **columns: Any) -> list[float]:
    return [0.0] * len(completions)


def collect(**changes: Any) -> Collect:
    settings = {"start": BASE, "problems": TRAIN, "keep": (short, says_something), "max_new_tokens": NEW_TOKENS}
    return Collect(**{"name": "data", **settings, "samples": 6, "batch": 3, **changes})


def rows_of(artifact: Artifact) -> list[dict[str, str]]:
    records = read_records(artifact.records)
    return [{name: value.decode() for name, value in row.items()} for row in take_rows(records, range(len(records)))]


@pytest.fixture(scope="module")
def data(workshop: Path, base: Artifact) -> Artifact:
    return work(collect(), workshop, {"start": base})


def test_what_is_kept_passed_every_test_and_comes_once(data: Artifact):
    rows = rows_of(data)
    examples = data.samples()
    assert len(examples) == 8 * 6 == data.results["sampled"]
    structure = ChatFormat().structure()
    clean = [row for row in examples if not any(symbol in row["completion"] for symbol in structure)]
    good = [row for row in clean if row["scores"] == {"short": 1.0, "says_something": 1.0}]
    assert len(clean) < len(examples)  # A model this young writes such symbols, and none of them may be kept.
    assert [row["kept"] for row in examples] == [row in good for row in examples]
    expected = dict.fromkeys((row["prompt"], row["completion"]) for row in good)
    assert [(row["prompt"], row["completion"]) for row in rows] == list(expected)
    assert len(rows) == data.results["kept"] and 0 < len(expected) < len(examples)
    assert data.results["kept share"] == len(rows) / len(examples)
    assert data.results["tokens"] == sum(row["tokens"] for row in examples) and data.results["flops"] > 0


def test_questions_and_answers_are_the_problems(data: Artifact, base: Artifact):
    answers = {problem.question: problem.answer for problem in TRAIN.problems()}
    assert all(row["answer"] == answers[row["prompt"]] and row["kind"] == "chains" for row in rows_of(data))
    assert tokenizer_of(data).model == tokenizer_of(base).model


def test_the_batch_size_changes_nothing(data: Artifact, base: Artifact, tmp_path: Path):
    other = work(collect(batch=8), tmp_path, {"start": base})
    assert rows_of(other) == rows_of(data)


def test_collecting_stops_when_enough_are_kept(data: Artifact, base: Artifact, tmp_path: Path):
    some = work(collect(wanted=2), tmp_path, {"start": base})
    assert rows_of(some) == rows_of(data)[:2]
    assert some.results["sampled"] < data.results["sampled"]


def test_an_interrupted_collection_goes_on_to_the_same_bytes(data: Artifact, base: Artifact, tmp_path: Path):
    surroundings = Surroundings(stop_at=1)
    with pytest.raises(Interrupted):
        work(collect(), tmp_path, {"start": base}, surroundings)
    first = tmp_path / "data" / "parts" / "000000.json"
    judged = json.loads(first.read_text())
    first.write_text(json.dumps([{**row, "completion": "marked"} for row in judged]))  # shows that it isn't made anew
    again = work(collect(), tmp_path, {"start": base})
    assert any(row["completion"] == "marked" for row in again.samples())
    first.write_text(json.dumps(judged))
    restored = work(collect(), tmp_path / "again", {"start": base})
    for file in sorted(path for path in data.records.iterdir()):
        assert (restored.records / file.name).read_bytes() == file.read_bytes()


def test_nothing_to_keep_is_one_clear_error_with_what_each_test_let_through(base: Artifact, tmp_path: Path):
    with pytest.raises(
        InputError, match=r"stage data: none of 48 replies .*short \d+\.\d%, never 0\.0%.*train its start"
    ):
        work(collect(keep=(short, never)), tmp_path, {"start": base})
    assert not (tmp_path / "data" / "records").exists()


def test_less_than_wanted_is_a_warning(base: Artifact, tmp_path: Path):
    surroundings = Surroundings()
    work(collect(wanted=1000), tmp_path, {"start": base}, surroundings)
    assert len(surroundings.warnings) == 1 and "of 1000 wanted" in surroundings.warnings[0]


def test_prompts_that_leave_no_room_are_refused_before_any_sampling(base: Artifact, tmp_path: Path):
    with pytest.raises(InputError, match="more than the model's context of 32"):
        work(collect(max_new_tokens=30), tmp_path, {"start": base})
    assert not (tmp_path / "data" / "parts").exists()


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(InputError, match="keep is empty"):
        collect(keep=())
    with pytest.raises(InputError, match="two functions named short"):
        collect(keep=(short, short))
    assert collect(problems=replace(TRAIN, count=5)).plan() == {"replies at most": 30}
