"""What the page asks of a run and is given as JSON: its stages, curves, pages of rollouts, problems, single replies."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from reasoning.core.artifact import RECORD
from reasoning.core.errors import InputError
from reasoning.core.files import read_json, readable_rows
from reasoning.core.text import printable
from reasoning.data.tokenizers.files import load_tokenizer
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.evaluation.results import SAMPLES
from reasoning.findings import exam_pages
from reasoning.findings.curves import series_of
from reasoning.findings.rollout_pages import RolloutPages, Wanted, conditions, written_rows
from reasoning.findings.scored_tokens import tokens_of
from reasoning.findings.stages import mapping
from reasoning.pipeline.folder import RUN, Entry, present_folder, read_run
from reasoning.training.metrics import METRICS, rollout_files
from reasoning.use.rollout_rows import LISTS
from reasoning.use.stage_results import chat_of

PAGE = 32
"""Rows a page."""

_SHOWN_CHARACTERS = 1200
_EXPORTED_ROWS = 100_000

Query = Mapping[str, str]


@dataclass(frozen=True)
class Answers:
    """The answers about the run in a folder. All raise InputError for what there isn't, and say what there is."""

    run: Path
    name: str = ""
    """What the run is called; empty for its folder's name."""

    def stages(self, query: Query) -> dict[str, Any]:
        """Every stage, with the steps whose rollouts were kept; a run that goes on gives another answer later."""
        return {
            "run": self.name or self.run.resolve().name,
            "stages": [self._stage(entry) for entry in self._entries()],
        }

    def metrics(self, query: Query) -> dict[str, Any]:
        """Every metric of a stage over its steps, thinned for a picture, with its moving average."""
        rows = readable_rows(self._folder(query) / METRICS, lambda _: None)
        names = dict.fromkeys(name for row in rows for name in row if name != "step")
        series = {name: found for name in names if (found := series_of(rows, name)) is not None}
        return {"series": {name: {"raw": each.raw, "smooth": each.smooth} for name, each in series.items()}}

    def rows(self, query: Query) -> dict[str, Any]:
        """A page of rollouts as filtered and sorted, texts shortened, and how many there are in all."""
        pages, wanted = self._pages(query), wanted_of(query)
        found, first = pages.find(wanted), whole_number(query, "first", 0)
        shown = pages.rows(found[first : first + PAGE].tolist())
        return {
            "total": len(found),
            "page": PAGE,
            "names": pages.names(),
            "rows": [row | {name: _start(row[name]) for name in ("prompt", "completion")} for row in shown],
        }

    def row(self, query: Query) -> dict[str, Any]:
        """One rollout in full, token by token where that is known."""
        pages, number = self._pages(query), whole_number(query, "row", 0)
        if number >= len(pages.find(Wanted())):
            raise InputError(f"there is no row {number}")
        [row] = pages.rows([number], log_probs=True)
        folder = self._folder(query)
        opening = _opening(folder)
        text = row["completion"].removeprefix(opening)
        sampler, *trainer = (row.pop(name, None) for name in LISTS)
        tokenizer = _tokenizer(folder)
        tokens = None if tokenizer is None or not sampler else tokens_of(tokenizer, text, sampler, *trainer)
        given = row["completion"][: len(row["completion"]) - len(text)]
        return row | {"tokens": tokens, "opening": given, "log_prob": sum(sampler) if sampler else None}

    def problems(self, query: Query) -> dict[str, Any]:
        """A page of an exam's problems as filtered and sorted, with each checkpoint's mean of the first score."""
        found, first = exam_pages.chosen(self._samples(query), wanted_of(query)), whole_number(query, "first", 0)
        names = dict.fromkeys(name for each in found for name in each.means)
        shown = [vars(each) | {"question": _start(each.question)} for each in found[first : first + PAGE]]
        return {"total": len(found), "page": PAGE, "names": [*names, "spread"], "problems": shown}

    def problem(self, query: Query) -> dict[str, Any]:
        """What every checkpoint replied to one problem."""
        return {"rows": exam_pages.replies(self._samples(query), whole_number(query, "problem", 0))}

    def selection(self, query: Query) -> Iterator[dict[str, Any]]:
        """The rows that were filtered and sorted, whole, one by one; of an exam its problems' replies."""
        wanted = wanted_of(query)
        if "step" in query:
            pages = self._pages(query)
            yield from written_rows(pages, pages.find(wanted)[:_EXPORTED_ROWS].tolist())
        else:
            file = self._samples(query)
            for problem in exam_pages.chosen(file, wanted):
                yield from exam_pages.replies(file, problem.number)

    def _entries(self) -> tuple[Entry, ...]:
        if not (self.run / RUN).exists():
            raise InputError(f"{self.run} is not a run's folder (it has no {RUN}); name the --out of a run")
        return read_run(self.run)

    def _stage(self, entry: Entry) -> dict[str, Any]:
        folder = present_folder(self.run, entry)
        return {
            "name": entry.stage,
            "kind": str(mapping(_record(folder).get("settings")).get("@", "")).rpartition(".")[2],
            "finished": entry.finished,
            "steps": list(rollout_files(folder)),
            "samples": (folder / SAMPLES).exists(),
            "metrics": (folder / METRICS).exists(),
        }

    def _folder(self, query: Query) -> Path:
        """The folder of a stage that is named; names are looked up, never made into a path."""
        folders = {entry.stage: present_folder(self.run, entry) for entry in self._entries()}
        if query.get("stage") not in folders:
            raise InputError(f"there is no stage {query.get('stage', '')!r}; there are {', '.join(folders)}")
        return folders[query["stage"]]

    def _samples(self, query: Query) -> Path:
        file = self._folder(query) / SAMPLES
        if not file.exists():
            raise InputError(f"stage {query['stage']} has no {SAMPLES}")
        return file

    def _pages(self, query: Query) -> RolloutPages:
        step = None if query.get("step") == "all" else whole_number(query, "step", 0)
        return RolloutPages.of(self._folder(query), step)


def routes(answers: Answers) -> dict[str, Callable[[Query], dict[str, Any]]]:
    """The answers by the names that the page asks for."""
    every = (answers.stages, answers.metrics, answers.rows, answers.row, answers.problems, answers.problem)
    return {each.__name__: each for each in every}


def wanted_of(query: Query) -> Wanted:
    """The part of a query that filters and sorts. Raises InputError for a condition that is none."""
    return Wanted(
        conditions(query.get("where", "")),
        query.get("kind", ""),
        query.get("text", ""),
        query.get("sort", ""),
        query.get("order") == "highest",
    )


def whole_number(query: Query, name: str, default: int) -> int:
    """A number of a query, 0 or more. Raises InputError for anything else."""
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise InputError(f"{name}={text!r:.40} is no whole number")
    return int(text)


def json_of(value: Any) -> str:
    """JSON without control characters in texts, and without ``<``, so that it may stand within a page too."""
    return json.dumps(_clean(value, printable), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def json_lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Rows as jsonl, their texts as they are."""
    for row in rows:
        yield (json.dumps(_clean(row, str), ensure_ascii=True) + "\n").encode()


def _clean(value: Any, written: Callable[[str], str]) -> Any:
    """Texts as ``written``; no NaN and no infinities, which JSON hasn't."""
    if isinstance(value, str):
        return written(value)
    if isinstance(value, Mapping):
        return {written(str(name)): _clean(each, written) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(each, written) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _start(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _record(folder: Path) -> Mapping[str, Any]:
    try:
        return mapping(read_json(folder / RECORD)) if (folder / RECORD).exists() else {}
    except InputError:
        return {}


@lru_cache(maxsize=16)
def _tokenizer(folder: Path) -> Tokenizer | None:
    """The stage's own tokenizer; None where it has none, or none that can be read."""
    try:
        return load_tokenizer(folder)
    except (InputError, OSError):
        return None


def _opening(folder: Path) -> str:
    """What completions begin with that the prompt gave, so that nobody sampled it."""
    try:
        chat = chat_of(_record(folder).get("settings"))
    except InputError:
        return ""
    return "" if chat is None else chat.opening
