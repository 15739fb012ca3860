import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from reasoning.core.artifact import Outcome
from reasoning.core.errors import InputError
from reasoning.data.bad_rows import BAD_ROWS
from reasoning.data.sources import Jsonl
from reasoning.pipeline.bad_rows import bad_rows_of
from reasoning.pipeline.graph import build_graph
from reasoning.pipeline.run import Run
from reasoning.stages import Prepare, TokenizerTraining
from reasoning.tasks.problems import ProblemSet
from reasoning.tasks.question_files import QuestionFile


@dataclass(frozen=True)
class Asks:
    """A stage with questions of its own, and of a parent's."""

    problems: ProblemSet
    name: str = "asks"
    other: "Asks | None" = None

    def run(self, inputs, out, context):
        return Outcome("results", {"asked": len(self.problems.problems())})


def questions(path: Path, skip_bad: int) -> ProblemSet:
    rows = [{"question": f"{number}?", "answer": "#### 1"} for number in range(9)]
    lines = [*map(json.dumps, rows[:4]), "{", *map(json.dumps, rows[4:]), '{"question": 3}']
    path.write_text("".join(f"{line}\n" for line in lines))
    task = QuestionFile(path=str(path), test_path=str(path), skip_bad=skip_bad)
    return ProblemSet(tasks=(task,), split="train", count=9)


def test_what_a_stage_itself_passes_over_is_told_and_listed(tmp_path: Path):
    parent = Asks(questions(tmp_path / "a.jsonl", 2), "first")
    graph = build_graph([Asks(questions(tmp_path / "b.jsonl", 2), other=parent)])
    told = bad_rows_of(graph["asks"], tmp_path)
    assert told.startswith(f"2 bad rows are passed over (skip_bad):\n  {tmp_path}/b.jsonl:5: not JSON")
    listed = (tmp_path / BAD_ROWS).read_text()
    assert [row.split(": ")[0] for row in listed.splitlines()] == [f"{tmp_path}/b.jsonl:5", f"{tmp_path}/b.jsonl:11"]
    assert bad_rows_of(graph["asks"], tmp_path) == told and (tmp_path / BAD_ROWS).read_text() == listed


def test_nothing_is_said_where_none_may_be_passed_over(tmp_path: Path):
    graph = build_graph([Asks(questions(tmp_path / "a.jsonl", 0))])
    assert bad_rows_of(graph["asks"], tmp_path) == "" and not (tmp_path / BAD_ROWS).exists()


def test_too_many_stop_the_stage_before_it_begins(tmp_path: Path):
    graph = build_graph([Asks(questions(tmp_path / "a.jsonl", 1))])
    with pytest.raises(InputError, match=r"(?s)a.jsonl: more than 1 bad rows.*a.jsonl:5: .*a.jsonl:11: "):
        bad_rows_of(graph["asks"], tmp_path)


def test_a_run_lists_them_in_the_artifact_and_warns(kit, tmp_path: Path):
    story = kit.run(Run(stages=(Asks(questions(tmp_path / "a.jsonl", 2)),)))
    artifact = story.artifacts["asks"]
    assert artifact.results == {"asked": 9} and len((artifact.path / BAD_ROWS).read_text().splitlines()) == 2
    assert any("stage asks: 2 bad rows are passed over (skip_bad):\n" in warning for warning in story.warnings)


def test_a_run_that_meets_a_bad_row_leaves_no_artifact_and_one_that_may_pass_over_it_does(kit, tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": NaN}\n{"text": "b"}\n')
    rows = Prepare(
        name="rows",
        sources=(Jsonl(f"{tmp_path}/a.jsonl"),),
        tokenizer=TokenizerTraining(kind="char", size=40),
        length=16,
    )
    kit.story_of_failure(Run(stages=(rows,)), InputError, r"a.jsonl:2: not plain JSON: NaN is not JSON")
    left = [path for path in (kit.out / "artifacts").rglob("*") if path.is_file()]
    assert not [path for path in (kit.out / "artifacts").iterdir() if not path.name.endswith(".partial")]
    assert not [path for path in left if "records" in path.parts]
    made = kit.run(Run(stages=(replace(rows, skip_bad=1),))).artifacts["rows"]
    assert (made.results["documents"], made.results["bad_rows"]) == (2, 1)
    assert (made.path / BAD_ROWS).read_text() == f"{tmp_path}/a.jsonl:2: not plain JSON: NaN is not JSON\n"
