"""Exam questions that a checkpoint's own line has learnt from are found, wherever they came from, and refused."""

import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_stages

from reasoning.core.errors import InputError
from reasoning.data.sources import Jsonl, Parquet, TextFolder
from reasoning.pipeline.graph import build_graph
from reasoning.pipeline.identity import identities
from reasoning.pipeline.leaks import check_leaks
from reasoning.pipeline.preview import preview
from reasoning.pipeline.run import Run
from reasoning.rewards.accuracy import strict
from reasoning.stages import Collect, WriteAnswers
from reasoning.stages.stage import Stage
from reasoning.tasks.problems import Problem, ProblemSet
from reasoning.tasks.question_files import QuestionFile
from reasoning.tasks.splits import Split

ASKED = tuple(f"Où est le café n° {number} ?" for number in range(6))


@dataclass(frozen=True)
class Listed:
    """Asks the same questions, whatever the split."""

    questions: tuple[str, ...]
    name: str = "listed"

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        return tuple(Problem(question, "1", self.name) for question in self.questions[:count])


def problem_set(questions: Iterable[str], split: Split = "train") -> ProblemSet:
    questions = tuple(questions)
    return ProblemSet(tasks=(Listed(questions),), split=split, count=len(questions))


def exam(*checkpoints: Stage, split: Split = "test", **changes: Any) -> Stage:
    return tiny_stages.examine(
        *checkpoints, quiz=tiny_stages.quiz(problems=problem_set(ASKED, split), scores=(strict,)), **changes
    )


def respelled(question: str) -> str:
    """The same question for a reader: letters decomposed, other white space."""
    return unicodedata.normalize("NFD", question).replace(" ", " \n\u00a0")


def zero(questions: Iterable[str], **changes: Any) -> Stage:
    return tiny_stages.reinforce(problems=problem_set(questions), questions=2, **changes)


@dataclass
class Looked:
    """What was found, what was told, and what is remembered."""

    memory: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def at(self, *stages: Stage, done: Mapping[str, bool] | None = None) -> list[str]:
        graph = build_graph(stages)
        known = identities(graph, 0, {"data": 1})
        return check_leaks(graph, known, lambda name: not (done or {}).get(name), self.memory, self.notes.append)


OTHERS = tuple(f"Wo ist Haus {number}?" for number in range(4))


def test_questions_that_another_task_trains_on_are_counted_however_they_are_spelled():
    shared = [*map(respelled, ASKED[:2]), ASKED[3], *OTHERS]
    with pytest.raises(InputError, match=r"^3 of the 6 questions of exam are questions of zero too, .*exam.allow_l"):
        Looked().at(exam(zero(shared)))
    [told] = Looked().at(exam(zero(shared), allow_leaks=True))
    assert told.startswith("3 of the 6 questions of exam are questions of zero too, from which its checkpoints learn")
    assert Looked().at(exam(zero(OTHERS))) == []


def test_only_what_the_examined_checkpoints_are_made_from_counts():
    taught, clean = zero(ASKED, name="taught"), zero(OTHERS, name="clean")
    assert Looked().at(exam(clean), taught) == []
    assert Looked().at(exam(tiny_stages.BASE), taught) == []
    with pytest.raises(InputError, match="of taught too"):
        Looked().at(exam(clean, zero(OTHERS, name="later", start=taught)))


def test_an_exam_on_training_questions_and_one_that_is_over_are_let_be():
    assert Looked().at(exam(zero(ASKED), split="train")) == []
    assert Looked().at(exam(zero(ASKED)), done={"exam": True}) == []


def test_a_probe_gives_its_stage_nothing_to_learn():
    probe = tiny_stages.quiz(problems=problem_set(ASKED, "test"), scores=(strict,))
    assert Looked().at(exam(zero(OTHERS, probe=probe, probe_every=1))) == []


def conversations(kind: str) -> Stage:
    """A checkpoint that is tuned on what a stage of this kind writes of two of the exam's questions."""
    problems = problem_set((*ASKED[:2], *OTHERS))
    if kind == "answers":
        source = WriteAnswers(name="asking", problems=problems, tokenizer=tiny_stages.CORPUS)
    else:
        source = Collect(name="asking", start=tiny_stages.BASE, problems=problems, keep=(strict,), max_new_tokens=4)
    rows = replace(tiny_stages.DEMONSTRATIONS, name="rows", sources=(), conversations=(source,))
    return tiny_stages.tune(data=rows)


@pytest.mark.parametrize("kind", ["answers", "collected"])
def test_questions_of_collected_conversations_count(kind: str):
    with pytest.raises(InputError, match="2 of the 6 questions of exam are questions of asking too"):
        Looked().at(exam(conversations(kind)))


def rows_of(questions: Iterable[str]) -> list[dict[str, Any]]:
    """Single exchanges, and one of several turns in which the last question is asked second."""
    *single, last = questions
    turns = [("system", "Be brief."), ("user", "Hello"), ("assistant", "Hi"), ("user", last), ("assistant", "1")]
    pairs = [[("user", question), ("assistant", "1")] for question in single]
    return [{"messages": [{"role": role, "content": said} for role, said in each]} for each in (*pairs, turns)]


def source_of(kind: str, folder: Path, questions: tuple[str, ...]) -> Any:
    if kind == "messages":
        (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_of(questions)))
        return Jsonl(str(folder / "a.jsonl"))
    if kind == "parquet":
        rows = [{"prompt": question, "completion": "1"} for question in questions]
        pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
        return Parquet(str(folder / "a.parquet"))
    (folder / "a.txt").write_text("\n".join(("A list", *questions)))
    return TextFolder(str(folder))


@pytest.mark.parametrize("kind", ["messages", "parquet", "text"])
def test_questions_in_files_of_conversations_and_texts_count(kind: str, tmp_path: Path):
    source = source_of(kind, tmp_path, (*OTHERS, *ASKED[2:5]))
    rows = replace(tiny_stages.DEMONSTRATIONS, name="rows", sources=(*tiny_stages.DEMONSTRATIONS.sources, source))
    with pytest.raises(InputError, match="3 of the 6 questions of exam are questions of rows too"):
        Looked().at(exam(tiny_stages.tune(data=replace(rows, cleaning=()))))
    # They are no leaks where they are left out.
    assert Looked().at(exam(tiny_stages.tune(data=rows))) == []


def test_two_files_of_questions_are_compared_and_the_tasks_own_word_allows(tmp_path: Path):
    for name, questions in (("train", (*ASKED[:4], *OTHERS)), ("test", ASKED)):
        rows = ({"question": question, "answer": "#### 1"} for question in questions)
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    training = replace(tiny_stages.TRAIN, tasks=(QuestionFile(path=str(tmp_path / "train"), test_path="-"),), count=8)
    asked = QuestionFile(path="-", test_path=str(tmp_path / "test"))
    for task, allowed in ((asked, False), (replace(asked, allow_leaks=True), True)):
        quiz = tiny_stages.quiz(problems=ProblemSet(tasks=(task,), split="test", count=6), scores=(strict,))
        stage = tiny_stages.examine(tiny_stages.reinforce(problems=training), quiz=quiz)
        if allowed:
            assert [told[:4] for told in Looked().at(stage)] == ["4 of"]
        else:
            with pytest.raises(InputError, match="4 of the 6"):
                Looked().at(stage)


def test_each_pair_is_compared_once_and_large_sources_are_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("reasoning.pipeline.leaks._TOLD_QUESTIONS", 3)
    source = source_of("messages", tmp_path, OTHERS)
    rows = replace(tiny_stages.DEMONSTRATIONS, name="rows", sources=(source,), cleaning=())
    stage = exam(tiny_stages.tune(data=rows))
    looked = Looked()
    assert looked.at(stage) == [] and looked.notes == ["looks for questions of exam in the 4 documents of rows, once"]
    assert looked.at(stage) == [] and len(looked.notes) == 1
    source_of("messages", tmp_path, ASKED[:4])
    with pytest.raises(InputError, match="4 of the 6"):
        looked.at(stage)


def test_what_can_not_be_read_is_left_to_the_stage_that_wants_it(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text("{\n")
    sources = (Jsonl(str(tmp_path / "a.jsonl")), Jsonl("nowhere"))
    rows = replace(tiny_stages.DEMONSTRATIONS, name="rows", sources=sources, cleaning=())
    looked = Looked()
    assert looked.at(exam(tiny_stages.tune(data=rows))) == []
    assert not any(f"{rows.name}" in place for place in looked.memory) and len(looked.memory) == 3


def test_a_preview_tells_of_leaks_and_refuses_them_as_a_run_does(tmp_path: Path):
    run = Run(stages=(exam(zero(ASKED[:1]), allow_leaks=True),))
    assert preview(run, tmp_path).leaks == (
        "1 of the 6 questions of exam are questions of zero too, from which its checkpoints learn",
    )
    with pytest.raises(InputError, match="1 of the 6 questions of exam"):
        preview(Run(stages=(exam(zero(ASKED[:1])),)), tmp_path)


@dataclass(frozen=True)
class Reordered(Listed):
    """Asks them with something before that differs from set to set."""

    before: str = ""

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        return tuple(
            replace(problem, question=f"{self.before} {problem.question}", source=problem.question)
            for problem in super().problems(split, count, seed)
        )


def test_what_a_question_is_told_apart_by_is_found_whatever_stands_around_it(tmp_path: Path):
    asked = ProblemSet(tasks=(Reordered(ASKED, before="yes, no:"),), split="test", count=6)
    learnt = ProblemSet(tasks=(Reordered(ASKED[:4], before="no, yes:"),), split="train", count=4)
    quiz = tiny_stages.quiz(problems=asked, scores=(strict,))
    stage = tiny_stages.examine(tiny_stages.reinforce(problems=learnt, questions=2), quiz=quiz)
    with pytest.raises(InputError, match="4 of the 6 questions of exam are questions of zero too"):
        Looked().at(stage)
    bare = tiny_stages.examine(zero(ASKED[:3]), quiz=quiz)
    with pytest.raises(InputError, match="3 of the 6 questions of exam are questions of zero too"):
        Looked().at(bare)
