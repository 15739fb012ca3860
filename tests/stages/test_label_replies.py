"""Labelled replies as rows: whole, each label where its step ends, the same after an interruption."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planned import not_run, place_of
from tiny_stages import BASE, NEW_TOKENS, TRAIN, Surroundings, early_end, work

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.data.records import read_records
from reasoning.stages.label_replies import LabelReplies, packed, separator_of
from reasoning.stages.step_labels import NO_LABEL, Labelled, Steps
from reasoning.training.preemption import Interrupted


def label(**changes: Any) -> LabelReplies:
    given = {"start": BASE, "problems": TRAIN, "right": early_end, "max_new_tokens": NEW_TOKENS, "length": 32}
    steps = Steps(separator="=", completions=2)
    return LabelReplies(**{"name": "labels", **given, "samples": 4, "batch": 4, "steps": steps, **changes})


def rows_of(artifact: Artifact) -> list[dict[str, np.ndarray]]:
    records = read_records(artifact.records_folder)
    return [records[number] for number in range(len(records))]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(0, 99)), min_size=1, max_size=40))
def test_every_reply_is_in_one_row_with_its_labels_where_its_steps_end(sizes: list[tuple[int, int, int]]):
    replies = []
    for number, (before, after, seed) in enumerate(sizes):
        chance = np.random.default_rng(seed)
        ends = sorted({*np.flatnonzero(chance.random(after) < 0.4).tolist(), after - 1})
        labels = chance.choice([NO_LABEL, 0.0, 0.25, 1.0], len(ends)).tolist()
        replies.append(Labelled([100 + number] * before, [200 + number] * after, ends, labels))
    found = []
    for row in packed(replies, 16):
        for segment in range(1, row["segments"].max() + 1):
            own = row["segments"] == segment
            np.testing.assert_array_equal(row["positions"][own], np.arange(own.sum()))
            found.append((row["tokens"][own].tolist(), row["labels"][own].tolist()))
        assert (row["labels"][row["segments"] == 0] == NO_LABEL).all()
    expected = []
    for each in replies:
        labels = [NO_LABEL] * (len(each.prompt) + len(each.reply))
        for end, value in zip(each.ends, each.labels, strict=True):
            labels[len(each.prompt) + end] = value
        expected.append(([*each.prompt, *each.reply], labels))
    assert sorted(found) == sorted(expected)


def test_a_reply_longer_than_a_row_is_refused():
    with pytest.raises(InputError, match="reply 0 and its prompt have 5 tokens, and rows 4"):
        list(packed([Labelled([1], [1] * 4, [3], [1.0])], 4))


@pytest.mark.slow
def test_replies_are_labelled_and_an_interruption_changes_nothing(workshop: Path, base: Artifact, tmp_path: Path):
    whole = work(label(), tmp_path / "whole", {"start": base})
    assert whole.kind == "records" and separator_of(whole) == "=" and not (whole.path / "parts").exists()
    rows = rows_of(whole)
    labels = np.concatenate([row["labels"][row["labels"] >= 0] for row in rows])
    assert whole.results["replies"] == 32 and whole.results["labels"] == len(labels) > 32
    np.testing.assert_allclose(whole.results["mean label"], labels.mean())
    assert set(np.unique(labels)) <= {0.0, 0.5, 1.0}
    with pytest.raises(Interrupted):
        work(label(), tmp_path / "cut", {"start": base}, Surroundings(stop_at=1))
    [part] = tmp_path.glob("cut/*/parts/*.jsonl")
    part.write_bytes(part.read_bytes().replace(b"1.0", b"0.0", 1))
    cut = work(label(), tmp_path / "cut", {"start": base})
    for one, other in zip(rows, rows_of(cut), strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    assert cut.results == whole.results


def test_what_does_not_fit_or_holds_no_labels_is_refused(base: Artifact, tmp_path: Path):
    with pytest.raises(InputError, match="new ones don't fit into rows of 9; raise labels.length"):
        work(label(length=9), tmp_path, {"start": base})
    with pytest.raises(InputError, match="stage base left no labelled replies; name a stages.LabelReplies"):
        separator_of(base)


def test_it_runs_the_programs_that_it_told_and_says_what_only_replies_tell(base: Artifact, tmp_path: Path):
    assert not_run(label(steps=None), tmp_path, {"start": base}) == []
    notes: list[str] = []
    stage, mesh = label(), Surroundings().context().mesh
    place = replace(place_of(mesh), note=notes.append)
    names = [one.name for one in stage.programs(place)]
    assert names[:3] == ["publish", "sample", "complete 0"] and any(
        "one step is gone on with" in note for note in notes
    )
