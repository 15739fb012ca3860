"""What models wrote and what they learn from, on the terminal: completions, and packed rows with their masks."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text

from reasoning.core.text import shortened
from reasoning.findings.rollouts import Collection, CompletionGroup, completion_line
from reasoning.findings.rows import ShownRow, Stretch
from reasoning.report.console import plain_text, put

_SHOWN_CHARACTERS, _MARGIN = 2000, 4

LEARNT_OPEN, LEARNT_CLOSE = "\u27e6", "\u27e7"
"""Stand around what is learnt, since colours don't survive a file."""

_LEARNT = "bold green"
_HEAD = f"{LEARNT_OPEN}…{LEARNT_CLOSE} is learnt (its tokens carry loss), the rest is only read"


def show_completions(
    console: Console, collection: Collection, groups: Iterable[CompletionGroup], whole: bool = False
) -> None:
    """Prints groups; texts are cut after 2000 characters unless ``whole``. Nothing in a text acts on the terminal."""
    put(console, collection.title, "bold")
    for group in groups:
        heading = f"\ngroup {group.number}  {group.question}  right answer: {group.answer}  ({group.kind})"
        put(console, heading, "bold")
        for completion in group.completions:
            text = completion.text if whole else shortened(completion.text, _SHOWN_CHARACTERS)
            put(console, f"  {completion_line(completion)}", "dim")
            put(console, text or "(nothing)", margin=_MARGIN)


def show_rows(console: Console, title: str, rows: Iterable[ShownRow]) -> None:
    """Prints rows, document by document. Nothing in a text acts on the terminal."""
    put(console, title, "bold")
    put(console, _HEAD, "dim")
    for number, row in enumerate(rows):
        learnt, read = row.count(learn=True), row.count(learn=False)
        put(console, f"\nrow {number}: {learnt} tokens learnt, {read} read, {row.padding} padding", "bold")
        for place, document in enumerate(row.documents):
            untaught = "" if any(part.learn for part in document) else ": nothing learnt"
            put(console, f"  document {place}{untaught}", "dim")
            put(console, _marked(document), margin=_MARGIN)


def _marked(document: Sequence[Stretch]) -> Text:
    shown = plain_text("")
    for part in document:
        weight = "" if part.weight == 1 else f"{part.weight:.2g}× "
        learnt = f"{LEARNT_OPEN}{weight}{part.text}{LEARNT_CLOSE}"
        shown += plain_text(learnt, _LEARNT) if part.learn else plain_text(part.text)
    return shown
