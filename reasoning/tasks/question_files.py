"""Problems from local files, such as GSM8K's: JSON lines, or a TFDS data set, with a question and an answer each."""

import random
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from reasoning.core.addresses import fetched
from reasoning.core.errors import InputError, of_a_row
from reasoning.core.ranges import Index
from reasoning.core.words import words_of
from reasoning.data.bad_rows import BadRows
from reasoning.data.lines import Lines, open_lines
from reasoning.data.records import Records
from reasoning.data.sources import open_tfds
from reasoning.tasks.answers import without_thousands
from reasoning.tasks.problems import Problem, identity, json_like, take_distinct
from reasoning.tasks.splits import Split, split_of

_Row = Mapping[str, Any]


@runtime_checkable
class Columns(Protocol):
    """How rows of a file or data set become problems: ``QuestionColumns``, or ``code_columns.CodeColumns``."""

    def problem(self, row: _Row, kind: str, where: str) -> Problem:
        """A row's problem. Raises InputError, beginning with ``where``, for a row without one."""
        ...

    def shared(self, train: Iterable[_Row], test: Iterable[_Row], train_name: str, test_name: str) -> str:
        """How many of the questions of ``test`` are questions of ``train``, in a sentence; empty for none."""
        ...


@dataclass(frozen=True, kw_only=True)
class QuestionColumns:
    """Which columns hold question and answer, and how the answer stands in its column; rewards get all others.

    The answer is what follows the last ``marker`` (all of the text where it is empty); commas between thousands are
    taken out, so that ``1,000`` is the number that a reply may also write as 1000.
    """

    question: str = "question"
    answer: str = "answer"
    marker: str = "####"
    left_out: tuple[str, ...] = ()  # columns that are of no use to rewards

    def problem(self, row: _Row, kind: str, where: str) -> Problem:
        """A row's problem. Raises InputError, beginning with ``where``, for a row without one."""
        texts = []
        for column in (self.question, self.answer):
            value = row.get(column)
            value = value.decode() if isinstance(value, bytes) else value
            if not isinstance(value, str) or not value.strip():
                raise InputError(f"{where}: column {column!r} is {value!r:.60}; it must be a text, and not empty")
            texts.append(value)
        question, answer = texts
        if self.marker and self.marker not in answer:
            raise InputError(f"{where}: column {self.answer!r} has no {self.marker!r} before its answer")
        answer = without_thousands((answer.rpartition(self.marker)[2] if self.marker else answer).strip())
        others = {name: row[name] for name in row if name not in (self.question, self.answer, *self.left_out)}
        try:
            columns = {name: json_like(value, partial(refused, name)) for name, value in others.items()}
            return Problem(question.strip(), answer, kind, columns)
        except InputError as error:
            raise InputError(f"{where}: {error} (columns.left_out)") from None

    def shared(self, train: Iterable[_Row], test: Iterable[_Row], train_name: str, test_name: str) -> str:
        """How many of the questions of ``test`` are questions of ``train``, in a sentence; empty for none."""
        return shared_questions(self.question, train, test, train_name, test_name)


def shared_questions(column: str, train: Iterable[_Row], test: Iterable[_Row], train_name: str, test_name: str) -> str:
    """How many of the questions of ``test`` are questions of ``train`` by their words; empty for none."""
    known, asked = ({words_of(_text(row.get(column))) for row in rows} for rows in (train, test))
    both = len(known & asked)
    return f"{both} of the {len(asked)} questions in {test_name} are questions of {train_name} too" if both else ""


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def refused(column: str, value: Any) -> None:
    """Raises InputError for what no column can hold, as ``problems.json_like`` wants it."""
    raise InputError(f"column {column!r} holds {value!r:.60}, which is no text, number or list; leave it out")


GSM8K = QuestionColumns()
"""Training Verifiers to Solve Math Word Problems (arXiv 2110.14168): the number follows ``####``."""


@dataclass(frozen=True, kw_only=True)
class QuestionFile:
    """Problems of a file of JSON objects, one a line; of one file for each split, or of one whose questions are split.

    Of a single file, a tenth of the questions is ``test`` (``tasks.splits``), whatever the seed and the count. Up to
    ``skip_bad`` lines of a file that hold no question are passed over; a run lists them.
    """

    path: str
    test_path: str = ""
    columns: Columns = GSM8K
    name: str = "gsm8k"
    skip_bad: Index = 0
    allow_leaks: bool = False  # whether test questions may be training questions too; an exam tells how many are

    def reads(self) -> tuple[str, ...]:
        """The paths, whose content counts (``core.contents``)."""
        return tuple(path for path in (self.path, self.test_path) if path)

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        """``count`` questions of ``split`` (contract: ``tasks.problems.Task``). InputError names file and line."""
        path = Path(fetched(self.test_path if self.test_path and split == "test" else self.path))
        return _shuffled(
            self._problems(path, self._bad(path)), split, count, seed, str(path), halves=not self.test_path
        )

    def bad_rows(self) -> tuple[str, ...]:
        """Place and reason of each line that is passed over (contract: ``data.bad_rows.PassesOver``)."""
        found: list[str] = []
        for path in map(Path, map(fetched, self.reads())) if self.skip_bad else ():
            bad = self._bad(path)
            deque(self._problems(path, bad), maxlen=0)
            found += bad.told
        return tuple(found)

    def _bad(self, path: Path) -> BadRows:
        return BadRows(str(path), self.skip_bad)

    def _problems(self, path: Path, bad: BadRows) -> Iterator[Problem]:
        if not path.exists():
            raise InputError(f"there is no file {path} with questions; name one in path or test_path")
        lines = open_lines(path)

        def read(at: int) -> Problem:
            row = lines.record(at)
            with of_a_row():
                return self.columns.problem(row, self.name, f"{path}:{lines.number(at)}")

        return bad.readable(len(lines), read)

    def leaks(self) -> str:
        """Of two files (contract: ``tasks.problems.Leaking``); the questions of one are kept apart by their words."""
        paths = [Path(fetched(path)) for path in self.reads()]
        if not self.test_path or not all(path.exists() for path in paths):
            return ""
        train, test = (self._rows(open_lines(path)) for path in paths)
        return self.columns.shared(train, test, self.path, self.test_path)

    def _rows(self, lines: Lines) -> Iterator[_Row]:
        return self._bad(lines.path).readable(len(lines), lines.record)


@dataclass(frozen=True, kw_only=True)
class QuestionRecords:
    """Problems of a TFDS data set, a prepared folder or a name that TFDS knows; its own splits are kept.

    Up to ``skip_bad`` rows of a split that hold no question are passed over; a run lists them.
    """

    builder: str
    data_dir: str = ""  # where a named one lies; empty: TFDS's own
    columns: Columns = GSM8K
    name: str = "gsm8k"
    skip_bad: Index = 0
    allow_leaks: bool = False  # whether test questions may be training questions too; an exam tells how many are

    def reads(self) -> tuple[str, ...]:
        """The folder, whose content counts; a named data set counts by its name."""
        return (self.builder,) if Path(fetched(self.builder)).is_dir() else ()

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        """``count`` questions of ``split`` (contract: ``tasks.problems.Task``). InputError where the set lacks it."""
        where, rows = self._where(split), self._rows(split)
        return _shuffled(self._problems(rows, where, self._bad(where)), split, count, seed, where, halves=False)

    def bad_rows(self) -> tuple[str, ...]:
        """Place and reason of each row that is passed over (contract: ``data.bad_rows.PassesOver``)."""
        found: list[str] = []
        for where, rows in self._halves().items() if self.skip_bad else ():
            bad = self._bad(where)
            deque(self._problems(rows, where, bad), maxlen=0)
            found += bad.told
        return tuple(found)

    def leaks(self) -> str:
        """Between the set's splits (contract: ``tasks.problems.Leaking``)."""
        halves = self._halves()
        if len(halves) < 2:
            return ""
        rows = [[records[at] for at in range(len(records))] for records in halves.values()]
        return self.columns.shared(rows[0], rows[1], *halves)

    def _halves(self) -> dict[str, Records]:
        """The rows of both splits by what they are called; of one that the set lacks there are none."""
        found: dict[str, Records] = {}
        for split in ("train", "test"):
            try:
                found[self._where(split)] = self._rows(split)
            except InputError:  # whoever wants its problems hears of that
                continue
        return found

    def _where(self, split: str) -> str:
        return f"{self.builder}, split {split}"

    def _rows(self, split: str) -> Records:
        return open_tfds(self.builder, split, self.data_dir, self._where(split))

    def _bad(self, where: str) -> BadRows:
        return BadRows(where, self.skip_bad)

    def _problems(self, rows: Records, where: str, bad: BadRows) -> Iterator[Problem]:
        def read(at: int) -> Problem:
            row = rows[at]
            with of_a_row():
                return self.columns.problem(row, self.name, f"{where}, row {at}")

        return bad.readable(len(rows), read)


def _shuffled(
    problems: Iterable[Problem], split: Split, count: int, seed: int, where: str, *, halves: bool
) -> tuple[Problem, ...]:
    by_question: dict[str, Problem] = {}
    for problem in problems:
        by_question.setdefault(problem.question, problem)
    chosen = [each for each in by_question.values() if not halves or split_of(identity(each)) == split]
    random.Random(f"questions/{split}/{seed}").shuffle(chosen)
    return take_distinct(chosen, split, count, where)
