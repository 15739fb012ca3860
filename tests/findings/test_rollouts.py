"""Completions as stages left them: the right ones, with all their numbers."""

from pathlib import Path

import pytest
from judged_rows import replies, write_step

from reasoning.core.errors import InputError
from reasoning.evaluation.results import SAMPLES, write_samples
from reasoning.findings.rollouts import Selection, choose, completion_line, has_samples, read
from reasoning.training.metrics import rollouts_file


@pytest.fixture
def zero(tmp_path: Path) -> Path:
    for step in (3, 4, 9):
        write_step(tmp_path, step)
    return tmp_path


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
    assert completion_line(choose(found, Selection())[0].completions[0]) == "#0  2 tokens  log-probability −3.0"
    with pytest.raises(InputError, match="were given no rewards, so none is best or worst"):
        choose(found, Selection("best"))


def test_a_damaged_file_is_named(zero: Path):
    rollouts_file(zero, 9).write_bytes(b"PAR1 rubbish")
    with pytest.raises(InputError, match=r"step_000009.parquet is damaged .* --from zero"):
        read(zero, "zero")


def test_without_a_total_reward_replies_are_sorted_by_the_first_score_of_the_file(tmp_path: Path):
    scores = {"lenient": (0.0, 1.0), "strict": (1.0, 0.0)}
    write_samples(tmp_path / SAMPLES, [replies(scores=scores)])
    [best] = choose(read(tmp_path, "exam"), Selection("best", limit=1))
    assert best.completions[0].text == "3"


def test_rows_of_another_form_are_refused(tmp_path: Path):
    (tmp_path / SAMPLES).write_text('{"checkpoint": "base", "problem": 0}\n')
    with pytest.raises(InputError, match="samples.jsonl:1 is not a row of replies"):
        read(tmp_path, "exam")


def test_a_folder_has_samples_where_there_are_rollouts_or_replies(tmp_path: Path):
    assert not has_samples(tmp_path)
    write_samples(tmp_path / SAMPLES, [])
    assert has_samples(tmp_path)
