"""Completions on the terminal: the right ones, with all their numbers, and nothing that acts on the terminal."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from reasoning.core.errors import InputError
from reasoning.evaluation.results import SAMPLES, Replies, write_samples
from reasoning.generation.engine import Rollouts
from reasoning.report.rollouts import Collection, Selection, choose, facts, has_samples, read, show
from reasoning.rewards.reward import Judgement
from reasoning.rollouts.record import Judged, rollout_table
from reasoning.tasks.problems import Problem
from reasoning.training.metrics import rollouts_file

PROBLEMS = (Problem("1+1?", "2", "sums"), Problem("Capital of France?", "Paris", "facts"))
TEXTS = [["2", "three", "4"], ["Paris", "\x1b[2JRome", "[red]Oslo[/red]"]]
REWARDS = np.array([[1.1, 0.0, 0.1], [1.0, 0.0, -0.5]])


def write_step(folder: Path, step: int, judged: bool = True, judgements: dict[str, np.ndarray] | None = None) -> None:
    """A step's file with two groups of three; without ``judgements`` it is as files were before there were verdicts."""
    lengths = np.array([[2, 3, 2], [2, 2, 2]])
    rollouts = Rollouts(np.zeros((2, 3, 3)), np.full((2, 3, 3), -1.5), lengths, lengths > 2)
    values = {"strict": (REWARDS >= 1).astype(float), "tagged": np.array([[1.0, 0, 1], [np.nan] * 3])}
    advantages = REWARDS - REWARDS.mean(1, keepdims=True)
    given = Judged(values, REWARDS, advantages, None, judgements or {}) if judged else Judged()
    file = rollouts_file(folder, step)
    file.parent.mkdir(exist_ok=True)
    pq.write_table(rollout_table(step, PROBLEMS, rollouts, TEXTS, given), file)


def printed(found: Collection, choice: Selection, whole: bool = False) -> str:
    console = Console(file=io.StringIO(), width=80)
    show(console, found, choose(found, choice), whole)
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


def test_files_from_before_there_were_verdicts_are_shown_without(zero: Path):
    assert not any(name.startswith(("verdicts/", "failing/", "details/")) for name in pq.read_schema(
        rollouts_file(zero, 9)).names)  # fmt: skip
    text = printed(read(zero, "zero"), Selection())
    assert "strict: " not in text and "(strict 1 · tagged 1)  advantage" in text


def test_worst_and_best_are_sorted_by_reward_over_all_groups(zero: Path):
    found = read(zero, "zero")
    worst = choose(found, Selection("worst", limit=3))
    # Of equal rewards the more negative advantage is worse: 0 is 0.4 below its group's mean in one, 0.17 in the other.
    assert [group.completions[0].text for group in worst] == ["[red]Oslo[/red]", "three", "\x1b[2JRome"]
    best = choose(found, Selection("best", limit=2))
    assert [(group.number, group.completions[0].text) for group in best] == [(0, "2"), (1, "Paris")]
    assert [group.question for group in choose(found, Selection("worst", kind="sums"))] == ["1+1?"] * 3


def test_a_limit_counts_completions(zero: Path):
    found = read(zero, "zero")
    assert [len(group.completions) for group in choose(found, Selection(limit=4))] == [3, 1]
    assert [len(group.completions) for group in choose(found, Selection(limit=3))] == [3]


def test_a_step_a_group_or_a_kind_that_is_not_there_is_refused_with_what_is(zero: Path):
    with pytest.raises(InputError, match="kept no rollouts of step 5; it kept 3 to 4, 9"):
        read(zero, "zero", 5)
    found = read(zero, "zero", 4)
    with pytest.raises(InputError, match="there is no group 2; there are 0 to 1"):
        choose(found, Selection(group=2))
    with pytest.raises(InputError, match="no problem is of kind 'cups'; there are facts, sums"):
        choose(found, Selection(kind="cups"))


def test_completions_without_rewards_are_shown_but_none_is_best(tmp_path: Path):
    write_step(tmp_path, 1, judged=False)
    found = read(tmp_path, "student")
    assert facts(choose(found, Selection())[0].completions[0]) == "#0  2 tokens  log-probability −3.0"
    with pytest.raises(InputError, match="were given no rewards, so none is best or worst"):
        choose(found, Selection("best"))


def test_a_damaged_file_is_named(zero: Path):
    rollouts_file(zero, 9).write_bytes(b"PAR1 rubbish")
    with pytest.raises(InputError, match=r"step_000009.parquet is damaged .* --from zero"):
        read(zero, "zero")


def replies(checkpoint: str = "base", problem: int = 0, method: str = "samples", **changes: Any) -> Replies:
    row = Replies(
        checkpoint=checkpoint, problem=problem, question=f"{problem}+1?", answer="2", kind="sums", method=method,
        texts=("2", "3"), lengths=(3, 4), log_probs=(-1.0, -2.0), answers=("2", "3"), scores={"strict": (1.0, 0.0)},
    )  # fmt: skip
    return replace(row, **changes)


def one(text: str) -> dict[str, Any]:
    return {"texts": (text,), "lengths": (3,), "log_probs": (-1.0,), "answers": (None,), "scores": {"strict": (0.5,)}}


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


def test_an_exam_s_replies_are_shown_with_the_reasons_of_their_scores(tmp_path: Path):
    reasons = {"strict": (("passed", None, ""), ("crashed", 12, "ValueError: no \x1b]0;digits"))}
    write_samples(tmp_path / SAMPLES, [replies(reasons=reasons), replies(problem=1)])
    text = " ".join(printed(read(tmp_path, "exam"), Selection()).split())
    assert "base, samples 0 (strict 1) strict: passed 3 tokens" in text
    assert "base, samples 1 (strict 0) strict: crashed at test 12, ValueError: no" in text
    assert text.count("strict: ") == 2 and "\x1b" not in text


def test_an_exam_s_rows_from_before_there_were_reasons_are_shown_without(tmp_path: Path):
    write_samples(tmp_path / SAMPLES, [replies()])
    assert "reasons" not in (tmp_path / SAMPLES).read_text()
    assert "base, samples 1  (strict 0)  4 tokens" in printed(read(tmp_path, "exam"), Selection())


def test_without_a_total_reward_replies_are_sorted_by_the_first_score_of_the_file(tmp_path: Path):
    scores = {"lenient": (0.0, 1.0), "strict": (1.0, 0.0)}
    write_samples(tmp_path / SAMPLES, [replies(scores=scores)])
    [best] = choose(read(tmp_path, "exam"), Selection("best", limit=1))
    assert best.completions[0].text == "3"


def test_rows_of_another_form_are_refused(tmp_path: Path):
    (tmp_path / SAMPLES).write_text('{"checkpoint": "base", "problem": 0}\n')
    with pytest.raises(InputError, match="samples.jsonl:1 is not a row of replies"):
        read(tmp_path, "exam")


def test_long_texts_are_cut_unless_one_group_is_asked_for(tmp_path: Path):
    write_samples(tmp_path / SAMPLES, [replies(**one("x" * 3000), kept=(True,))])
    found = read(tmp_path, "cold_data")
    assert "(+1000 characters)" in printed(found, Selection()).replace("\n", " ").replace("     ", " ")
    assert printed(found, Selection(group=0), whole=True).count("x") == 3000


def test_a_folder_has_samples_where_there_are_rollouts_or_replies(tmp_path: Path):
    assert not has_samples(tmp_path)
    write_samples(tmp_path / SAMPLES, [])
    assert has_samples(tmp_path)
