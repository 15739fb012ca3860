"""Questions of an exam that the examined checkpoints learnt from, though another task or file of the run gave them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import Any

from reasoning.core.contents import Memory, ReadsFiles
from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.documents import Document
from reasoning.data.sources import DocumentSource
from reasoning.evaluation.exam import Exam
from reasoning.experiment.describe import is_hashed, parts_of
from reasoning.pipeline.graph import Graph, ancestors
from reasoning.pipeline.identity import Identity
from reasoning.stages.stage import Stage, is_stage, learns_from
from reasoning.tasks.problems import Leaking, ProblemSet, identity
from reasoning.tasks.splits import words_of

_TOLD_QUESTIONS = 100_000
"""Reading so many takes long enough to be announced."""

_ASKED, _ASKED_END = "\ufdd0", "\ufdd1"
"""Characters that no text may hold, by which questions are found in a document again."""

_END = "\ufdd2"
_CHAT = ChatFormat(begin="", system="\ufdd3", user=_ASKED, close=_ASKED_END, assistant="\ufdd4", end=_END)


@dataclass(frozen=True)
class _Pair:
    """An exam and one of the stages from which its checkpoints come."""

    exam: Stage
    quiz: Exam
    stage: Stage


def check_leaks(
    graph: Graph,
    known: Mapping[str, Identity],
    wanted: Callable[[str], bool],
    memory: Memory,
    note: Callable[[str], None],
) -> list[str]:
    """How many questions of exams are learnt from by the examined checkpoints' own line, in a sentence a stage.

    Questions count as equal by ``splits.words_of``. An exam's are those of a split ``test``; learnt from are the
    problems, and the questions in files of conversations and texts, of all stages that its checkpoints are made from.
    Of the ``wanted`` exams each is compared once: ``memory`` keeps what was found by the stages' hashes. ``note`` hears
    of long readings. Raises InputError for an exam with such questions that doesn't allow them.
    """
    told: list[str] = []
    for pair in _pairs(graph, wanted):
        exam, stage = pair.exam.name, pair.stage.name
        place = f"questions of {known[exam].hash} in {known[stage].hash}"
        found = _remembered(memory.get(place, {}))
        if found is None:
            found, whole = _shared(pair, note)
            if whole:
                memory[place] = {"shared": str(found[0]), "asked": str(found[1])}
        shared, asked = found
        if shared:
            leak = (
                f"{shared:,} of the {asked:,} questions of {exam} are questions of {stage} too, from which its "
                "checkpoints learn"
            )
            if not _allowed(pair):
                raise InputError(f"{leak}; take them out of one of the two, or set {exam}.allow_leaks = True")
            told.append(leak)
    return told


def _pairs(graph: Graph, wanted: Callable[[str], bool]) -> Iterator[_Pair]:
    for name, node in graph.items():
        if wanted(name) and learns_from(node.stage) == "nothing":
            quizzes = [
                value
                for value in (getattr(node.stage, field.name) for field in fields(node.stage))
                if isinstance(value, Exam)
            ]
            for quiz in quizzes:
                if quiz.problems.split == "test":
                    yield from (_Pair(node.stage, quiz, graph[each].stage) for each in ancestors(graph, name))


def _allowed(pair: _Pair) -> bool:
    """Whether the exam says that such questions may be in it: itself, or each task that it asks."""
    tasks = pair.quiz.problems.tasks
    return getattr(pair.exam, "allow_leaks", True) or all(
        isinstance(each, Leaking) and each.allow_leaks for each in tasks
    )


def _remembered(entry: Mapping[str, str]) -> tuple[int, int] | None:
    shared, asked = (entry.get(name, "") for name in ("shared", "asked"))
    return (int(shared), int(asked)) if shared.isdecimal() and asked.isdecimal() else None


def _shared(pair: _Pair, note: Callable[[str], None]) -> tuple[tuple[int, int], bool]:
    """How many of an exam's questions the settings of a stage give to learn from, how many it has; whether that is all.

    Questions and files that can't be read are passed over: the stage that needs them says what is wrong.
    """
    learnt = [
        part for part in parts_of(pair.stage, _inner, is_hashed) if isinstance(part, ProblemSet) or _is_source(part)
    ]
    if not learnt:
        return (0, 0), True
    try:
        asked = {
            _digest(text): _digest(identity(problem))
            for problem in pair.quiz.problems.problems()
            for text in (problem.question, identity(problem))
        }
    except InputError:
        return (0, 0), False
    found: set[bytes] = set()
    whole = True
    for part in learnt:
        try:
            texts = _of_problems(part) if isinstance(part, ProblemSet) else _of_source(part, pair, note)
            found.update(asked[digest] for text in texts if (digest := _digest(text)) in asked)
        except InputError:
            whole = False
    return (len(found), len(set(asked.values()))), whole


def _is_source(part: object) -> bool:
    """Whether a part gives documents out of files; those that a program writes cost too much to look for."""
    return isinstance(part, DocumentSource) and isinstance(part, ReadsFiles) and not isinstance(part, type)


def _inner(value: object) -> object | None:
    """Parents are asked by themselves, and an exam that a stage has as it learns gives it nothing."""
    return value if is_stage(value) or isinstance(value, Exam) else None


def _of_problems(problems: ProblemSet) -> Iterator[str]:
    return (identity(problem) for problem in problems.problems())


def _of_source(source: Any, pair: _Pair, note: Callable[[str], None]) -> Iterator[str]:
    documents = source.documents(_CHAT, 0)
    if len(documents) >= _TOLD_QUESTIONS:
        note(f"looks for questions of {pair.exam.name} in the {len(documents):,} documents of {pair.stage.name}, once")
    for document in documents:
        yield from _questions(document)


def _questions(document: Document) -> Iterator[str]:
    """What is asked in a conversation; of a running text all of it, and each of its lines."""
    text = document.text().removesuffix(_END)
    asked = [part.partition(_ASKED_END)[0] for part in text.split(_ASKED)[1:]]
    yield from asked or (text, *text.split("\n"))


def _digest(question: str) -> bytes:
    """Eight bytes for a question: of a million texts two are taken for one with a chance of one in ten million."""
    return blake2b(words_of(question).encode("utf-8", "surrogatepass"), digest_size=8).digest()
