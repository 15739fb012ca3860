"""Completions and rows on the terminal: with all their numbers, and nothing that acts on the terminal."""

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from judged_rows import one, replies, write_step
from rich.console import Console

from reasoning.core.errors import InputError
from reasoning.evaluation.results import SAMPLES, write_samples
from reasoning.findings.rollouts import Collection, Selection, choose, read
from reasoning.findings.rows import ShownRow, Stretch
from reasoning.report.texts import LEARNT_CLOSE, LEARNT_OPEN, show_completions, show_rows
from reasoning.rewards.reward import Judgement
from reasoning.training.metrics import rollouts_file


def printed(found: Collection, choice: Selection, whole: bool = False) -> str:
    console = Console(file=io.StringIO(), width=80)
    show_completions(console, found, choose(found, choice), whole)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def zero(tmp_path: Path) -> Path:
    for step in (3, 4, 9):
        write_step(tmp_path, step)
    return tmp_path


def test_the_last_step_is_shown_whole_with_questions_answers_and_every_number(zero: Path):
    text = printed(read(zero, "zero"), Selection())
    assert "zero, step 9 (kept: 3 to 4, 9)" in text
    assert "group 1  Capital of France?  right answer: Paris  (facts)" in text
    assert "#0  reward 1.1  (strict 1 · tagged 1)  advantage +0.70  2 tokens  log-probability −3.0\n    2\n" in text
    assert "#1  reward 0  (strict 0 · tagged 0)  advantage −0.40  3 tokens, cut off  log-probability −4.5" in text
    assert "#2  reward −0.5  (strict 0)  advantage" in text  # a reward that doesn't apply is not shown


def test_what_a_model_writes_reaches_the_terminal_as_plain_text(zero: Path):
    text = printed(read(zero, "zero"), Selection())
    assert "\x1b" not in text and "Rome" in text and "[red]Oslo[/red]" in text


def test_files_from_before_there_were_verdicts_are_shown_without(zero: Path):
    assert not any(name.startswith(("verdicts/", "failing/", "details/")) for name in pq.read_schema(
        rollouts_file(zero, 9)).names)  # fmt: skip
    text = printed(read(zero, "zero"), Selection())
    assert "strict: " not in text and "(strict 1 · tagged 1)  advantage" in text


def test_an_exam_s_rows_from_before_there_were_reasons_are_shown_without(tmp_path: Path):
    write_samples(tmp_path / SAMPLES, [replies()])
    assert "reasons" not in (tmp_path / SAMPLES).read_text()
    assert "base, samples 1  (strict 0)  4 tokens" in printed(read(tmp_path, "exam"), Selection())


def test_an_exam_s_replies_are_shown_with_the_reasons_of_their_scores(tmp_path: Path):
    reasons = {"strict": (("passed", None, ""), ("crashed", 12, "ValueError: no \x1b]0;digits"))}
    write_samples(tmp_path / SAMPLES, [replies(reasons=reasons), replies(problem=1)])
    text = " ".join(printed(read(tmp_path, "exam"), Selection()).split())
    assert "base, samples 0 (strict 1) strict: passed 3 tokens" in text
    assert "base, samples 1 (strict 0) strict: crashed at test 12, ValueError: no" in text
    assert text.count("strict: ") == 2 and "\x1b" not in text


def test_long_texts_are_cut_unless_one_group_is_asked_for(tmp_path: Path):
    write_samples(tmp_path / SAMPLES, [replies(**one("x" * 3000), kept=(True,))])
    found = read(tmp_path, "cold_data")
    assert "(+1000 characters)" in printed(found, Selection()).replace("\n", " ").replace("     ", " ")
    assert printed(found, Selection(group=0), whole=True).count("x") == 3000


def test_a_verdict_the_failing_test_and_a_line_of_detail_stand_above_the_reply_they_are_of(tmp_path: Path):
    judgements = np.full((2, 3), Judgement(1.0), object)
    judgements[0, 1] = Judgement(0.0, "wrong", 3, "expected 4,\x1b[2J got 5")
    judgements[0, 2] = Judgement(0.0, "timed_out", 0)
    judgements[1, 0] = Judgement(1.0, "passed")
    write_step(tmp_path, 1, judgements={"strict": judgements, "tagged": np.full((2, 3), Judgement(1.0), object)})
    columns = read(tmp_path, "zero").groups
    assert [dict(each.reasons) for group in columns for each in group.completions] == [
        {}, {"strict": ("wrong", 3, "expected 4,\x1b[2J got 5")}, {"strict": ("timed_out", 0, "")},
        {"strict": ("passed", None, "")}, {}, {},
    ]  # fmt: skip
    text = " ".join(printed(read(tmp_path, "zero"), Selection()).split())
    assert "#1 reward 0 (strict 0 · tagged 0) strict: wrong at test 3, expected 4, got 5 advantage −0.40" in text
    assert "strict: timed_out at test 0 advantage" in text and "strict: passed advantage" in text
    assert text.count("strict: ") == 3 and "tagged: " not in text and "\x1b" not in text


def test_what_was_collected_is_shown_kept_or_dropped(tmp_path: Path):
    write_samples(tmp_path / SAMPLES, [replies(kept=(True, False))])
    found = read(tmp_path, "cold_data")
    text = printed(found, Selection())
    assert "cold_data: the first replies, kept or not" in text and "group 0  0+1?  right answer: 2  (sums)" in text
    assert "#0  kept  (strict 1)  3 tokens  log-probability −1.0\n    2\n" in text
    assert "#1  dropped  (strict 0)  4 tokens  log-probability −2.0\n    3\n" in text
    assert [group.completions[0].text for group in choose(found, Selection("worst", limit=1))] == ["3"]
    with pytest.raises(InputError, match="leave --step out"):
        read(tmp_path, "cold_data", 3)


def test_an_evaluation_shows_every_checkpoints_replies_to_a_problem_by_every_method_and_style(tmp_path: Path):
    rows = [
        row
        for name in ("base", "zero")
        for row in (
            replies(name, 1, "greedy", **one(f"{name} says")),
            replies(name, 1),
            replies(name, 1, "best_of_8", style="think", **one("mine")),
        )
    ]
    write_samples(tmp_path / SAMPLES, [*rows, replies(problem=0)])
    found = read(tmp_path, "exam")
    assert [group.number for group in found.groups] == [0, 1]
    [group] = choose(found, Selection(group=1))
    labels = [completion.label for completion in group.completions]
    ways = ("greedy", "samples 0", "samples 1", "think, best_of_8")
    assert labels == [f"{name}, {way}" for name in ("base", "zero") for way in ways]
    text = printed(found, Selection(group=1))
    assert "zero, samples 1  (strict 0)  4 tokens  log-probability −2.0" in text and "zero says" in text


def test_nothing_in_a_row_acts_on_the_terminal_and_unlearnt_documents_are_named():
    row = ShownRow(
        ((Stretch("\x1b[2Jask", False, 3), Stretch("[red]x", True, 2, 0.25)), (Stretch("lost", False, 1),)), 4
    )
    console = Console(file=io.StringIO(), width=200)
    show_rows(console, "rows", [row])
    said = console.file.getvalue()
    assert f"ask{LEARNT_OPEN}0.25× [red]x{LEARNT_CLOSE}" in said and "\x1b" not in said
    assert "row 0: 2 tokens learnt, 4 read, 4 padding" in said
    assert "document 1: nothing learnt" in said
