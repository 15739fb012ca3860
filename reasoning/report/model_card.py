"""The card of an exported model: what it is, where it comes from, what was measured of it, how to load it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from reasoning.data.chat.format import ChatFormat
from reasoning.evaluation.results import Score
from reasoning.findings.environments import environment
from reasoning.findings.evaluations import Evaluation
from reasoning.findings.facts import Facts
from reasoning.findings.numbers import number
from reasoning.findings.scores import asked, interval, main_score, ordered_scores, spoken
from reasoning.findings.sentences import sentences
from reasoning.findings.stages import StageFacts, mapping
from reasoning.report.content import settings_listing, version_grid
from reasoning.report.document import Block, Cell, Grid
from reasoning.report.markdown import rendered
from reasoning.use.stage_results import chat_of


@dataclass(frozen=True)
class CardSubject:
    """What a card is about. ``settings`` is the model's ``config.json``; ``facts`` is None for a model of no run."""

    folder: str
    settings: Mapping[str, Any]
    parameters: int
    dtype: str
    chat: ChatFormat | None
    templated: bool
    stage: str
    run: str = ""
    facts: Facts | None = None


def model_card(subject: CardSubject) -> str:
    """The card as Markdown with the header that the Hub reads; equal models of equal runs give equal bytes."""
    facts = subject.facts
    stage = None if facts is None else facts.stage(subject.stage)
    every = () if facts is None else facts.evaluations
    listings: list[Block] = [settings_listing(subject.settings, "config.json")]
    if stage is not None:
        listings[:0] = [
            version_grid(environment(stage)),
            settings_listing(stage.settings, f"Settings of {stage.title}"),
        ]
    return rendered(
        "card.md",
        subject=subject,
        stage=stage,
        made=() if facts is None or stage is None else _history(facts, stage),
        exams=[
            (exam, _quiz(facts, exam.stage), _tables(subject.stage, exam))
            for exam in every
            if subject.stage in exam.checkpoints
        ],
        listings=listings,
        quoted_folder=Markup(json.dumps(subject.folder, ensure_ascii=False)),
        asked=asked,
        chat_of=chat_of,
    )


def _history(facts: Facts, stage: StageFacts) -> list[tuple[str, str, str]]:
    """(name, kind, what came of it) of a stage and those that it was trained from, the first one first."""
    line = (stage.name, *facts.lineage(stage.name))
    kinds, told = {each.name: each.kind for each in facts.stages}, dict(sentences(facts))
    return [(name, kinds[name], told[name]) for name in reversed(line)]


def _tables(checkpoint: str, exam: Evaluation) -> Iterator[Grid]:
    """What an exam measured of a checkpoint."""
    scores, main = exam.checkpoints[checkpoint], main_score(exam) or ""
    yield _table("all problems", [(spoken(name), name, scores[name]) for name in ordered_scores(scores)])
    for title, parts in (("kind of problem", exam.results.kinds), ("prompt style", exam.results.styles)):
        table = parts.get(checkpoint, {})
        rows = [(part, main, scores[main]) for part, scores in table.items() if main in scores]
        if rows:
            yield _table(f"{spoken(main)} by {title}", rows)


def _table(caption: str, rows: Sequence[tuple[str, str, Score]]) -> Grid:
    """Rows of (what it is called, score's name, score)."""
    written = ((told, number(score.mean, name), interval(score, name), f"{score.n:,}") for told, name, score in rows)
    return Grid(
        caption, ("score", "mean", "95 % interval", "problems"), tuple(tuple(map(Cell, row)) for row in written)
    )


def _quiz(facts: Facts | None, exam: str) -> Mapping[str, Any]:
    """How an exam asked, as far as its settings say."""
    stage = None if facts is None else facts.stage(exam)
    return {} if stage is None else mapping(stage.settings.get("quiz"))
