"""Rejection sampling: what is kept passed every test, comes once, and survives an interruption."""

import shutil
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import Any

import pytest
from tiny_stages import BASE, HALVES, NEW_TOKENS, REFUSED, TRAIN, Surroundings, work

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.fingerprints import vouch
from reasoning.data.chat.format import ChatFormat
from reasoning.data.records import read_records, take_rows
from reasoning.evaluation.results import Replies, read_samples, write_samples
from reasoning.rewards.numbers import number
from reasoning.rewards.text import read_answer
from reasoning.stages import collect as collecting
from reasoning.stages.checkpoint import tokenizer_of
from reasoning.stages.collect import Collect, Collected
from reasoning.training.preemption import Interrupted


def short(completions: list[str], truncated: list[bool], **columns: Any) -> list[float]:
    """1 for replies that end early, which even a hardly trained model writes now and then."""
    return [float(not cut) for cut in truncated]


def says_something(completions: list[str], **columns: Any) -> list[float]:
    return [float(len(text) > 1) for text in completions]


def no_number(completions: list[str], **columns: Any) -> list[float | None]:
    """1 for replies without a digit; to others it doesn't apply."""
    return [None if any(letter.isdigit() for letter in text) else 1.0 for text in completions]


def never(completions: list[str], **columns: Any) -> list[float]:
    return [0.0] * len(completions)


def collect(**changes: Any) -> Collect:
    settings = {"start": BASE, "problems": TRAIN, "keep": (short, says_something), "max_new_tokens": NEW_TOKENS}
    return Collect(**{"name": "data", **settings, "samples": 8, "batch": 4, "slots": 16, **changes})


def rows_of(artifact: Artifact) -> list[dict[str, str]]:
    records = read_records(artifact.records_folder)
    return [{name: value.decode() for name, value in row.items()} for row in take_rows(records, range(len(records)))]


@pytest.fixture(scope="module")
def data(workshop: Path, base: Artifact) -> Artifact:
    return work(collect(), workshop, {"start": base})


def test_what_is_kept_passed_every_test_and_comes_once(data: Artifact):
    rows = rows_of(data)
    examples = read_samples(data.path / "samples.jsonl")
    replies = [(row, number) for row in examples for number in range(8)]
    assert len(replies) == 8 * 8 == data.results["sampled"]
    structure = ChatFormat().structure()
    clean = [not any(symbol in row.texts[number] for symbol in structure) for row, number in replies]
    passed = [all(row.scores[name][number] == 1 for name in ("short", "says_something")) for row, number in replies]
    assert not all(clean)  # A model this young writes such symbols, and none of them may be kept.
    good = [both == (True, True) for both in zip(clean, passed, strict=True)]
    assert [row.kept[number] for row, number in replies] == good
    expected = dict.fromkeys((row.question, row.texts[number]) for row, number in compress(replies, good))
    assert [(row["prompt"], row["completion"]) for row in rows] == list(expected)
    assert len(rows) == data.results["kept"] and 0 < len(expected) < len(replies)
    assert data.results["kept share"] == len(rows) / len(replies)
    assert data.results["tokens"] == sum(row.lengths[number] for row, number in replies) and data.results["flops"] > 0


def test_rows_are_those_of_an_exam_and_say_what_each_reply_scored_and_answers(data: Artifact):
    examples = read_samples(data.path / "samples.jsonl")
    problems = TRAIN.problems()
    assert [(row.problem, row.question) for row in examples] == [(n, each.question) for n, each in enumerate(problems)]
    assert {(row.checkpoint, row.method, row.style) for row in examples} == {("base", "samples", "")}
    for row in examples:
        assert list(row.scores["says_something"]) == says_something(list(row.texts))
        cut = [value == 0 for value in row.scores["short"]]
        assert list(row.answers) == [
            None if over else read_answer(text, row.answer, ChatFormat())
            for over, text in zip(cut, row.texts, strict=True)
        ]
        assert all(value < 0 for value in row.log_probs)


def test_a_test_that_does_not_apply_to_a_reply_keeps_it_out(base: Artifact, tmp_path: Path):
    made = work(collect(keep=(short, no_number)), tmp_path, {"start": base})
    rows = read_samples(made.path / "samples.jsonl")
    values = [value for row in rows for value in row.scores["no_number"]]
    assert set(values) == {0.0, 1.0}
    assert not any(
        kept and not value for row in rows for kept, value in zip(row.kept, row.scores["no_number"], strict=True)
    )


def test_of_many_replies_some_are_shown_whole_problems_at_a_time_and_one_at_least():
    def shown(samples: int, problems: int) -> int:
        many = {"texts": ("1",) * samples, "lengths": (1,) * samples, "log_probs": (0.0,) * samples}
        more = {"answers": ("1",) * samples, "scores": {}, "kept": (False,) * samples}
        names = ("checkpoint", "question", "answer", "kind", "method")
        row = Replies(**dict.fromkeys(names, "x"), problem=0, **many, **more)
        collected = Collected(wanted=0)
        collected.add([row] * problems)
        assert collected.sampled == collected.tokens == samples * problems
        return len(collected.examples)

    assert [shown(*sizes) for sizes in ((6, 8), (6, 50), (64, 3), (200, 3))] == [8, 16, 1, 1]


def test_questions_and_answers_are_the_problems(data: Artifact, base: Artifact):
    answers = {problem.question: problem.answer for problem in TRAIN.problems()}
    assert all(row["answer"] == answers[row["prompt"]] and row["kind"] == "chains" for row in rows_of(data))
    assert tokenizer_of(data).model == tokenizer_of(base).model


def test_the_batch_size_changes_nothing(data: Artifact, base: Artifact, tmp_path: Path):
    other = work(collect(batch=8), tmp_path, {"start": base})
    assert rows_of(other) == rows_of(data)


def test_no_reply_holds_a_forbidden_character(data: Artifact, base: Artifact, tmp_path: Path):
    written = [text for row in read_samples(data.path / "samples.jsonl") for text in row.texts]
    digits = [digit for digit in "0123456789" if any(digit in text for text in written)]
    some = work(collect(forbidden="".join(digits[:-1]), keep=(short,)), tmp_path, {"start": base})
    said = [text for row in read_samples(some.path / "samples.jsonl") for text in row.texts]
    assert len(digits) > 2 and {digit for digit in digits if any(digit in text for text in said)} == {digits[-1]}
    assert rows_of(some)


def test_a_reply_in_which_several_tokens_spell_a_forbidden_character_is_not_kept():
    texts = ("5 a", "5 \u00e9", "<think>5</think>")
    row = Replies(
        checkpoint="base",
        problem=0,
        question="2+3?",
        answer="5",
        kind="chains",
        method="samples",
        texts=texts,
        lengths=(3, 4, 5),
        log_probs=(-1.0, -1.0, -1.0),
        answers=("5", "5", "5"),
        scores={"short": (1.0, 1.0, 1.0)},
    )
    [sifted] = collect(forbidden="\u00e9h").sifted([row])
    assert sifted.kept == (True, False, True)


def test_collecting_stops_when_enough_are_kept(data: Artifact, base: Artifact, tmp_path: Path):
    some = work(collect(wanted=2), tmp_path, {"start": base})
    assert rows_of(some) == rows_of(data)[:2]
    assert some.results["sampled"] < data.results["sampled"]


def test_what_is_counted_shown_and_written_is_one_number(data: Artifact, base: Artifact, tmp_path: Path):
    surroundings = Surroundings()
    wanted = int(data.results["kept"]) - 1  # reached in the middle of a problem's replies, so that more pass than stay
    some = work(collect(wanted=wanted, batch=8), tmp_path, {"start": base}, surroundings)
    rows, examples = rows_of(some), read_samples(some.path / "samples.jsonl")
    passed = {
        (row.question, text)
        for row in examples
        for number, text in enumerate(row.texts)
        if all(row.scores[name][number] == 1 for name in ("short", "says_something"))
        and not any(symbol in text for symbol in ChatFormat().structure())
    }
    assert len(passed) == wanted + 1
    assert len(rows) == some.results["kept"] == surroundings.reports[-1].values["kept"] == wanted
    assert some.results["kept share"] == wanted / some.results["sampled"]
    flagged = {(row.question, text) for row in examples for text, kept in zip(row.texts, row.kept, strict=True) if kept}
    assert flagged == {(row["prompt"], row["completion"]) for row in rows}


def check_same_records(one: Artifact, other: Artifact) -> None:
    for file in sorted(other.records_folder.iterdir()):
        assert (one.records_folder / file.name).read_bytes() == file.read_bytes()
    assert (one.path / "samples.jsonl").read_bytes() == (other.path / "samples.jsonl").read_bytes()
    assert one.results == other.results


def test_an_interrupted_collection_goes_on_without_asking_anew(base: Artifact, tmp_path: Path):
    with pytest.raises(Interrupted):
        work(collect(), tmp_path, {"start": base}, Surroundings(stop_at=1))
    first = tmp_path / "data" / "parts" / "000000.jsonl"
    write_samples(first, [replace(row, texts=("marked",) * 8) for row in read_samples(first)])
    vouch(first)
    again = work(collect(), tmp_path, {"start": base})
    assert any(row.texts[0] == "marked" for row in read_samples(again.path / "samples.jsonl"))


def test_a_part_that_has_changed_is_told_and_made_again(data: Artifact, base: Artifact, tmp_path: Path):
    with pytest.raises(Interrupted):
        work(collect(), tmp_path, {"start": base}, Surroundings(stop_at=1))
    first, later = tmp_path / "data" / "parts" / "000000.jsonl", Surroundings()
    first.write_bytes(first.read_bytes().replace(b"1", b"2", 1))
    check_same_records(work(collect(), tmp_path, {"start": base}, later), data)
    assert [line for line in later.warnings if "damaged" in line] == [
        f"damaged: {first} has other content than was written (SHA-256 differs); it is made again"
    ]


@pytest.mark.parametrize("where", ["write_conversations", "write_samples", "rmtree"])
def test_a_collection_that_is_killed_while_it_ends_goes_on_to_the_same_bytes(
    data: Artifact, base: Artifact, tmp_path: Path, monkeypatch: Any, where: str
):
    def killed(path: Path, *more: Any, **options: Any) -> None:
        if where == "write_conversations" or path.name == "samples.jsonl":
            raise KeyboardInterrupt
        if where == "rmtree" and path.name == "parts":
            next(path.iterdir()).unlink()  # it comes in the middle
            raise KeyboardInterrupt
        original(path, *more, **options)

    place = shutil if where == "rmtree" else collecting
    original = getattr(place, where)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(place, where, killed)
        work(collect(), tmp_path, {"start": base})
    assert (tmp_path / "data" / "parts").exists()
    check_same_records(work(collect(), tmp_path, {"start": base}), data)


def test_parts_go_when_all_is_written(data: Artifact):
    assert sorted(path.name for path in data.path.iterdir()) == ["records", "samples.jsonl", "tokenizer.model"]


def test_nothing_to_keep_is_one_clear_error_with_what_each_test_let_through(base: Artifact, tmp_path: Path):
    with pytest.raises(
        InputError, match=r"stage data: none of 64 replies .*short \d+\.\d%, never 0\.0%.*train its start"
    ):
        work(collect(keep=(short, never)), tmp_path, {"start": base})
    assert not (tmp_path / "data" / "records").exists()


def test_less_than_wanted_is_a_warning(base: Artifact, tmp_path: Path):
    surroundings = Surroundings()
    work(collect(wanted=1000), tmp_path, {"start": base}, surroundings)
    assert len(surroundings.warnings) == 1 and "of 1000 wanted" in surroundings.warnings[0]


def test_prompts_that_leave_no_room_are_refused_before_any_sampling(base: Artifact, tmp_path: Path):
    with pytest.raises(InputError, match="more than the model's context of 32"):
        work(collect(max_new_tokens=30), tmp_path, {"start": base})
    assert not (tmp_path / "data" / "parts").exists()


def test_a_problem_that_a_test_cannot_judge_is_refused_before_any_sampling(base: Artifact, tmp_path: Path):
    with pytest.raises(InputError, match=REFUSED):
        work(collect(keep=(number,), problems=HALVES), tmp_path, {"start": base})
    assert not (tmp_path / "data" / "parts").exists()


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(InputError, match="keep is empty"):
        collect(keep=())
    with pytest.raises(InputError, match="two functions named short"):
        collect(keep=(short, short))
    assert collect(problems=replace(TRAIN, count=5)).plan() == {"replies at most": 40}
