"""The schema of what evaluating and collecting stages leave: ``results.json`` and ``samples.jsonl``, written and read.

Stages, report, sweeps and notebooks share these records; nobody else spells a key of the two files.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from reasoning.core.errors import InputError
from reasoning.core.files import read_jsonl, readable_rows, write_atomic
from reasoning.core.fingerprints import difference, fingerprints
from reasoning.core.sealed import read_sealed, sealed

RESULTS = "results.json"
SAMPLES = "samples.jsonl"

_SAMPLES = "samples"
"""Says in the results what the file of samples was when they were written."""

Complain = Callable[[str], None]
"""Takes in words what is damaged, where a reader goes on without it."""


@dataclass(frozen=True)
class Score:
    """A mean over ``n`` problems with the ends of its 95 % interval; None where there is no interval.

    ``ungraded`` is the share of replies that nobody could grade, which are in none of these.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    ungraded: float = 0.0


Scores = Mapping[str, Score]
"""Scores by column, ``<score>/<method>`` or the name of a rate or an amount, in the order of the file."""


@dataclass(frozen=True)
class Confusion:
    """How many replies of each right answer (a row of ``counts``) gave each one; the last column is none of them."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Results:
    """What one evaluation found: checkpoint (a stage's name) -> column -> score.

    ``kinds`` holds the same by kind of problem, where there are several; ``styles`` by other ways of putting the
    questions. ``split`` is that of the problems: ``test`` for those that no stage was trained on. ``confusions`` are by
    checkpoint and method, of exams with measures. ``tokens`` are those that each column took a problem.
    """

    checkpoints: Mapping[str, Scores]
    kinds: Mapping[str, Mapping[str, Scores]] = field(default_factory=dict)
    styles: Mapping[str, Mapping[str, Scores]] = field(default_factory=dict)
    split: str = ""
    confusions: Mapping[str, Mapping[str, Confusion]] = field(default_factory=dict)
    tokens: Mapping[str, Scores] = field(default_factory=dict)

    def columns(self) -> tuple[str, ...]:
        """All columns, in the order in which they first occur."""
        return tuple(dict.fromkeys(name for scores in self.checkpoints.values() for name in scores))

    def means(self) -> dict[str, float]:
        """The means over all problems as ``checkpoint/column``, for the artifact's own small table."""
        return {
            f"{stage}/{name}": each.mean for stage, scores in self.checkpoints.items() for name, each in scores.items()
        }


Reason = tuple[str, int | None, str]
"""Of a reply: the verdict, the number of the failing test, and a line of detail (``rewards.reward.Judgement``)."""


@dataclass(frozen=True, kw_only=True)
class Replies:
    """What one checkpoint replied to one problem, asked by one method in one style: a row of ``samples.jsonl``.

    Per reply: its text, its length in tokens, its summed log-probability, the answer that it gives (None: none, or cut
    off), and its value by each score and rate (None: not graded). ``style`` is empty for the exam's own. A collecting
    stage says which replies it ``kept``. ``reasons`` are of scores that explain, ``probabilities`` by answer of methods
    that weigh all answers, ``spent`` the tokens that were decoded where they are others than those of these replies.
    ``prompt`` is how many tokens were read before them. By scorer, ``steps`` are its scores of each reply's steps, and
    ``reads`` the tokens and operations that it took.
    """

    checkpoint: str
    problem: int
    question: str
    answer: str
    kind: str
    method: str
    style: str = ""
    texts: tuple[str, ...]
    lengths: tuple[int, ...]
    log_probs: tuple[float, ...]
    answers: tuple[str | None, ...]
    scores: Mapping[str, tuple[float | None, ...]]
    kept: tuple[bool, ...] = ()
    reasons: Mapping[str, tuple[Reason, ...]] = field(default_factory=dict)
    probabilities: Mapping[str, float] = field(default_factory=dict)
    spent: int | None = None
    prompt: int | None = None
    steps: Mapping[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict)
    reads: Mapping[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)


def write_results(out: Path, results: Results) -> None:
    """Writes ``results.json`` in one move, with its own hash and that of the samples that lie beside it."""
    content = _without_zeros(asdict(results))
    if (out / SAMPLES).exists():
        content[_SAMPLES] = fingerprints(out, [out / SAMPLES])[SAMPLES]
    write_atomic(out / RESULTS, json.dumps(sealed(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def are_written(out: Path, complain: Complain) -> bool:
    """Whether results lie in a folder, and they and their samples are as they were written; damage is told."""
    if not (out / RESULTS).exists():
        return False
    try:
        samples = _content(out / RESULTS).get(_SAMPLES)
        told = "" if samples is None else difference(out / SAMPLES, samples, None)
    except (InputError, KeyError, TypeError) as error:
        told = str(error)
    if told:
        complain(f"damaged: {told}; it is made again")
    return not told


def _content(file: Path) -> dict[str, Any]:
    content = read_sealed(file)
    if not isinstance(content, dict) or not isinstance(content.get("checkpoints"), dict):
        raise InputError(f"{file} has no 'checkpoints'; move {file.parent} away and evaluate again")
    return content


def _without_zeros(content: Any) -> Any:
    """Without ``ungraded`` where all was graded, as it nearly always is, and without what there is none of."""
    if not isinstance(content, dict):
        return content
    return {
        name: _without_zeros(each)
        for name, each in content.items()
        if name not in ("ungraded", "confusions", "tokens") or each
    }


def read_results(folder: Path) -> Results:
    """What ``write_results`` wrote. Raises InputError, naming the place, where the file is missing or damaged."""
    file = folder / RESULTS
    content, parts = _content(file), {}
    for name in ("kinds", "styles"):
        by_checkpoint = _object(content.get(name, {}), f"{file}: {name}")
        parts[name] = {stage: _tables(each, f"{file}: {name}.{stage}") for stage, each in by_checkpoint.items()}
    confusions = {
        stage: {
            method: _confusion(each, f"{file}: confusions.{stage}.{method}")
            for method, each in _object(by_method, f"{file}: confusions.{stage}").items()
        }
        for stage, by_method in _object(content.get("confusions", {}), f"{file}: confusions").items()
    }
    return Results(
        _tables(content["checkpoints"], str(file)),
        **parts,
        split=str(content.get("split", "")),
        confusions=confusions,
        tokens=_tables(content.get("tokens", {}), f"{file}: tokens"),
    )


_RARE = ("reasons", "probabilities", "spent", "prompt", "steps", "reads")
"""What most rows of replies have nothing of, and then leave out."""


def write_samples(file: Path, rows: Iterable[Replies]) -> None:
    """Writes rows of replies in one move."""
    written = (
        {name: value for name, value in vars(row).items() if name not in _RARE or value not in ({}, None)}
        for row in rows
    )
    write_atomic(file, ((json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode() for row in written))


def join_samples(file: Path, parts: Iterable[Path]) -> None:
    """Writes the rows of several files into one, in one move; they needn't fit into memory."""
    write_atomic(file, (part.read_bytes() for part in parts))


def read_samples(file: Path, complain: Complain | None = None) -> tuple[Replies, ...]:
    """The rows that ``write_samples`` wrote.

    Without ``complain`` a damaged row raises InputError with file and line; with it, such a row is left out and told.
    """
    return tuple(_rows(file, complain))


def _rows(file: Path, complain: Complain | None) -> Iterator[Replies]:
    lines = read_jsonl(file) if complain is None else readable_rows(file, complain)
    for number, line in enumerate(lines, start=1):
        try:
            yield _replies(line)
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            message = f"{file}:{number} is not a row of replies ({error!r:.80})"
            if complain is None:
                raise InputError(f"{message}; make the artifact anew") from None
            complain(f"{message}; it is left out")


def _replies(row: Mapping[str, Any]) -> Replies:
    values = {each.name: row[each.name] for each in fields(Replies) if each.name not in _RARE}
    texts = _listed(values["texts"], str)
    for name in ("checkpoint", "question", "answer", "kind", "method", "style"):
        _only(values[name], str)
    return Replies(
        **values
        | {
            "problem": _only(values["problem"], int),
            "texts": texts,
            "lengths": _listed(values["lengths"], int, len(texts)),
            "log_probs": _listed(values["log_probs"], float, len(texts)),
            "answers": _listed(values["answers"], (str, type(None)), len(texts)),
            "scores": {name: _values(each, len(texts)) for name, each in values["scores"].items()},
            "kept": _listed(values["kept"], bool, len(texts) if values["kept"] else 0),
            "reasons": {name: _reasons(each, len(texts)) for name, each in row.get("reasons", {}).items()},
            "probabilities": {name: _only(each, float) for name, each in row.get("probabilities", {}).items()},
            "spent": _only(row.get("spent"), (int, type(None))),
            "prompt": _only(row.get("prompt"), (int, type(None))),
            "steps": {name: _steps(each, len(texts)) for name, each in row.get("steps", {}).items()},
            "reads": {name: _reads(each, len(texts)) for name, each in row.get("reads", {}).items()},
        }
    )


def _values(value: Any, length: int) -> tuple[float | None, ...]:
    """Numbers, or None for what was not graded."""
    listed = _listed(value, (float, int, type(None)), length)
    return tuple(None if each is None else float(each) for each in listed)


def _steps(value: Any, length: int) -> tuple[tuple[float, ...], ...]:
    return tuple(_listed(each, float) for each in _listed(value, list, length))


def _reads(value: Any, length: int) -> tuple[tuple[int, float], ...]:
    pairs = [_listed(each, (int, float), 2) for each in _listed(value, list, length)]
    return tuple((_only(tokens, int), _only(flops, float)) for tokens, flops in pairs)


def _reasons(value: Any, length: int) -> tuple[Reason, ...]:
    rows = [(*_listed(each, (str, int, type(None)), 3),) for each in _listed(value, list, length)]
    return tuple(
        (_only(verdict, str), _only(failing, (int, type(None))), _only(told, str)) for verdict, failing, told in rows
    )


def _listed(value: Any, kind: Any, length: int | None = None) -> tuple[Any, ...]:
    if not isinstance(value, list) or length not in (None, len(value)):
        raise ValueError("a list of another length, or none")
    if set(map(type, value)) <= set(kind if isinstance(kind, tuple) else (kind,)):  # as nearly all are, by the million
        return tuple(value)
    return tuple(_only(item, kind) for item in value)


def _only(value: Any, kind: Any) -> Any:
    """The value where it is of the kind; JSON's whole numbers are floats too, its true and false no numbers."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{value!r:.40}")
    return value


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where} is {value!r:.60}, not scores by checkpoint; evaluate again")
    return value


def _tables(content: Any, where: str) -> dict[str, dict[str, Score]]:
    """Scores by a checkpoint's or a part's name, and by column."""
    return {
        name: {column: _score(value, f"{where}: {name}.{column}") for column, value in _object(scores, where).items()}
        for name, scores in _object(content, where).items()
    }


def _confusion(value: Any, where: str) -> Confusion:
    try:
        labels = _listed(value["labels"], str)
        counts = tuple(_listed(row, int, len(labels) + 1) for row in _listed(value["counts"], list, len(labels)))
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"{where} is not labels and their counts ({error!r}); evaluate again") from None
    return Confusion(labels, counts)


def _score(value: Any, where: str) -> Score:
    try:
        low, high = (None if value[end] is None else float(value[end]) for end in ("low", "high"))
        score = Score(float(value["mean"]), low, high, int(value["n"]), float(value.get("ungraded", 0.0)))
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"{where} is not a score with mean, low, high and n ({error!r}); evaluate again") from None
    if not math.isfinite(score.mean):
        raise InputError(f"{where} has the mean {score.mean}; evaluate again")
    return score
