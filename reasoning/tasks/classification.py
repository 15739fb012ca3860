"""Texts with a label each: all labels stand in the prompt, in an order drawn for each text, so that no place tells."""

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from reasoning.core.errors import InputError
from reasoning.core.ranges import Index
from reasoning.tasks.problems import Problem, json_like
from reasoning.tasks.question_files import QuestionColumns, refused

LABELS = "labels"
"""The column of a problem that holds all labels, in the order in which its question lists them."""

_FORM = "{text}\nLabel ({labels}):"


@dataclass(frozen=True, kw_only=True)
class LabelColumns:
    """Which columns hold a text and its label, for ``question_files.QuestionFile`` and ``QuestionRecords``.

    A label is one of ``labels``, or its number among them from 0. Problems get a column ``labels``, in the question's
    order, and all others of the row. A text belongs to one split whatever the order of its labels is.
    """

    text: str = "text"
    label: str = "label"
    labels: tuple[str, ...]
    form: str = _FORM  # the question, with {text} and, where it lists them, {labels}
    separator: str = ", "  # between labels
    order_seed: Index = 0  # another one lists the labels of each text in another order
    left_out: tuple[str, ...] = ()  # columns that are of no use to rewards

    def __post_init__(self) -> None:
        check_labels(self.labels, self.form)

    def problem(self, row: Mapping[str, Any], kind: str, where: str) -> Problem:
        """A row's problem. Raises InputError, beginning with ``where``, for a row without text or a known label."""
        text, label = (
            value.decode(errors="replace") if isinstance(value, bytes) else value
            for value in (row.get(self.text), row.get(self.label))
        )
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{where}: column {self.text!r} is {text!r:.60}; it must be a text, and not empty")
        if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(self.labels):
            label = self.labels[label]
        if label not in self.labels:
            known = ", ".join(map(repr, self.labels))
            raise InputError(
                f"{where}: column {self.label!r} is {label!r:.60}; it must be one of {known}, or its number"
            )
        others = {name: row[name] for name in row if name not in (self.text, self.label, LABELS, *self.left_out)}
        generator = random.Random(f"labels/{self.order_seed}/{text}")
        try:
            columns = {name: json_like(value, partial(refused, name)) for name, value in others.items()}
            return labelled(text.strip(), label, self.labels, kind, generator, self.form, self.separator, columns)
        except InputError as error:
            raise InputError(f"{where}: {error} (columns.left_out)") from None

    def shared(
        self, train: Iterable[Mapping[str, Any]], test: Iterable[Mapping[str, Any]], train_name: str, test_name: str
    ) -> str:
        """How many of the texts of ``test`` are texts of ``train``, in a sentence; empty for none."""
        return QuestionColumns(question=self.text).shared(train, test, train_name, test_name)


def labels_of(problem: Problem) -> tuple[str, ...]:
    """A problem's labels in alphabetic order, whatever the order in its question is. InputError where it has none."""
    labels = problem.columns.get(LABELS)
    if not isinstance(labels, Sequence) or isinstance(labels, str) or not labels:
        raise InputError(
            f"the problem {problem.question!r:.60} ({problem.kind}) has no labels to choose from: its column "
            f"{LABELS!r} is {labels!r:.40}; drop the method that chooses among them, or give it labels"
        )
    return tuple(sorted(labels))


def check_labels(labels: Sequence[str], form: str) -> None:
    """Raises InputError for labels that a reply can't be told apart by, and for a form without the text."""
    spelled = [label.casefold() for label in labels]
    if len(labels) < 2 or len(set(spelled)) < len(labels) or not all(label.strip() == label != "" for label in labels):
        raise InputError(
            f"labels = {tuple(labels)!r:.80}; give at least two that differ by more than capital letters, none empty "
            "or with space around it"
        )
    if "{text}" not in form:
        raise InputError(f"form is {form!r:.60} without {{text}}, so that all questions would be the same")


def labelled(
    text: str,
    label: str,
    labels: Sequence[str],
    kind: str,
    generator: random.Random,
    form: str = _FORM,
    separator: str = ", ",
    columns: Mapping[str, Any] | None = None,
) -> Problem:
    """The problem of a text, with its labels in an order that ``generator`` draws; the text alone is its source."""
    order = generator.sample(list(labels), len(labels))
    told = {"text": text, "labels": separator.join(order)}
    question = re.sub("{(text|labels)}", lambda found: told[found[1]], form)
    return Problem(question, label, kind, {**(columns or {}), LABELS: order}, source=text)
