from pathlib import Path

import pytest
from tiny_stages import CORPUS, TRAIN, work

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.data.records import read_records, take_rows
from reasoning.rewards.accuracy import answered
from reasoning.stages.checkpoint import tokenizer_of
from reasoning.stages.write_answers import WriteAnswers
from reasoning.tasks.capitals import Capitals
from reasoning.tasks.problems import ProblemSet


def rows_of(artifact: Artifact) -> list[dict[str, str]]:
    records = read_records(artifact.records_folder)
    return [{name: value.decode() for name, value in row.items()} for row in take_rows(records, range(len(records)))]


def test_every_problem_has_its_right_answer_and_no_thinking(corpus: Artifact, tmp_path: Path):
    written = work(WriteAnswers(name="known", problems=TRAIN, tokenizer=CORPUS), tmp_path, {"tokenizer": corpus})
    rows, problems = rows_of(written), TRAIN.problems()
    assert [(row["prompt"], row["answer"], row["kind"]) for row in rows] == [
        (problem.question, problem.answer, problem.kind) for problem in problems
    ]
    assert answered([""] * len(rows), [row["completion"] for row in rows], [row["answer"] for row in rows]) == [1.0] * 8
    assert not any("<think>" in row["completion"] for row in rows)
    assert tokenizer_of(written).model == tokenizer_of(corpus).model
    assert written.results == {"kept": 8}


def test_answers_that_the_tokenizer_cannot_write_are_refused(corpus: Artifact, tmp_path: Path):
    facts = ProblemSet((Capitals(),), "train", 3)
    with pytest.raises(InputError, match="has no id for"):
        work(WriteAnswers(name="known", problems=facts, tokenizer=CORPUS), tmp_path, {"tokenizer": corpus})
