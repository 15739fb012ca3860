"""The card of an exported model: what it is, where it comes from, what was measured of it, how to load it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reasoning.data.chat.format import ChatFormat
from reasoning.evaluation.results import Score
from reasoning.report.content import environment, settings_listing, version_grid
from reasoning.report.document import Block, Bullets, Cell, Code, Grid, Heading, Paragraph, Report, Section, filled
from reasoning.report.evaluations import Evaluation
from reasoning.report.facts import Facts
from reasoning.report.markdown import markdown
from reasoning.report.numbers import number
from reasoning.report.scores import asked, interval, main_score, ordered_scores, spoken
from reasoning.report.sentences import sentences
from reasoning.report.stages import StageFacts, mapping
from reasoning.use.stage_results import chat_of

_FRONT = """\
---
library_name: transformers
pipeline_tag: text-generation
# license: yours to choose, within what the licences of the model and the data that it was made from allow
---
"""

_LOAD = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = {folder}
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
{prompt}
reply = model.generate(**tokens, max_new_tokens=256)[0, tokens["input_ids"].shape[1] :]
print(tokenizer.decode(reply))"""

_CHAT = """\
messages = [{"role": "user", "content": "What is 2+2?"}]
tokens = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)"""

_PLAIN = 'tokens = tokenizer("Once upon a time", return_tensors="pt")'


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
    stage = None if subject.facts is None else subject.facts.stage(subject.stage)
    sections = (
        Section("What it is", tuple(_identity(subject, stage))),
        Section("What was measured", tuple(_measured(subject))),
        Section("How to load it", tuple(_loading(subject))),
        Section("Settings", tuple(_settings(subject, stage))),
    )
    return _FRONT + markdown(Report(subject.folder, filled(sections)))


def _identity(subject: CardSubject, stage: StageFacts | None) -> Iterator[Block]:
    made = f"stage {subject.stage} of the run {subject.run}" if stage is not None else subject.stage
    yield Paragraph(
        f"A decoder of the family {subject.settings['model_type']} with {subject.parameters:,} parameters "
        f"({subject.dtype}), which reads {subject.settings['max_position_embeddings']:,} tokens at most: {made}, "
        "exported by reasoning convert export."
    )
    if stage is None or subject.facts is None:
        yield Paragraph("It belongs to no run, so nothing is known here of how it was trained.")
        return
    line = (stage.name, *subject.facts.lineage(stage.name))
    told = dict(sentences(subject.facts))
    yield Paragraph("How it was made, from the first checkpoint on:")
    yield Bullets(tuple((name, f"{_kind(subject.facts, name)}{told[name]}") for name in reversed(line)))


def _kind(facts: Facts, name: str) -> str:
    stage = facts.stage(name)
    return f"({stage.kind}) " if stage is not None and stage.kind else ""


def _measured(subject: CardSubject) -> Iterator[Block]:
    every = () if subject.facts is None else subject.facts.evaluations
    examined = [evaluation for evaluation in every if subject.stage in evaluation.checkpoints]
    if not examined:
        yield Paragraph("Nothing: no evaluation of its run examined it." if every else "Nothing.")
        return
    rounded = "" if subject.dtype == "float32" else f" Weights were rounded to {subject.dtype} only after that."
    yield Paragraph(
        "Means over problems with 95 % intervals, clustered by problem where there are several samples. They hold for "
        f"problems of this sort, asked in this way, and say nothing of others.{rounded}"
    )
    for evaluation in examined:
        yield from _evaluation(subject, evaluation)


def _evaluation(subject: CardSubject, evaluation: Evaluation) -> Iterator[Block]:
    yield Heading(f"{evaluation.stage}: {asked(evaluation)}")
    yield Paragraph(_manner(subject, evaluation))
    scores = evaluation.checkpoints[subject.stage]
    yield _grid("all problems", [(spoken(name), name, scores[name]) for name in ordered_scores(scores)])
    main = main_score(evaluation) or ""
    for title, parts in (
        ("by kind of problem", evaluation.results.kinds),
        ("by prompt style", evaluation.results.styles),
    ):
        by_part = parts.get(subject.stage, {})
        rows = [(part, main, table[main]) for part, table in by_part.items() if main in table]
        if rows:
            yield _grid(f"{spoken(main)} {title}", rows)


def _manner(subject: CardSubject, evaluation: Evaluation) -> str:
    """How an exam asked, as far as its settings say."""
    stage = None if subject.facts is None else subject.facts.stage(evaluation.stage)
    quiz = mapping((stage.settings if stage is not None else {}).get("quiz"))
    told = [
        text.format(quiz[name])
        for name, text in (
            ("samples", "{} samples a problem"),
            ("temperature", "temperature {}"),
            ("max_new_tokens", "at most {} new tokens"),
        )
        if name in quiz
    ]
    chat = chat_of(quiz)
    if chat is not None:
        same = "in the chat format that lies here" if chat == subject.chat else "in another chat format than lies here"
        told.append(same)
    return f"{', '.join(told).capitalize()}." if told else "Its settings don't say how it asked."


def _grid(caption: str, rows: Sequence[tuple[str, str, Score]]) -> Grid:
    cells = tuple(
        (Cell(shown), Cell(number(score.mean, name)), Cell(interval(score, name)), Cell(f"{score.n:,}"))
        for shown, name, score in rows
    )
    return Grid(caption, ("score", "mean", "95 % interval", "problems"), cells)


def _loading(subject: CardSubject) -> Iterator[Block]:
    prompt = _CHAT if subject.templated else _PLAIN
    yield Code(_LOAD.replace("{folder}", json.dumps(subject.folder, ensure_ascii=False)).replace("{prompt}", prompt))
    yield Paragraph(
        "generate takes the likeliest token each time unless told otherwise; generation_config.json only says which "
        "ids end a reply. "
        + ("The chat template lies in chat_template.jinja." if subject.templated else "No chat template came with it.")
    )


def _settings(subject: CardSubject, stage: StageFacts | None) -> Iterator[Block]:
    if stage is not None:
        folder = f"artifacts/{stage.artifact.path.name}" if stage.artifact is not None else ""
        yield Paragraph(
            f"The run's file, every default spelled out, is resolved.gin in its folder; {folder} is what was exported."
        )
        yield version_grid(environment(stage))
        yield settings_listing(stage.settings, f"Settings of {stage.title}")
    yield settings_listing(subject.settings, "config.json")
