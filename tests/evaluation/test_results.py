"""The schema of results and samples: what is written is what is read, and what is damaged is named by its place."""

import json
from pathlib import Path
from typing import Any

import pytest

from reasoning.core.errors import InputError
from reasoning.evaluation.results import (
    Confusion,
    Replies,
    Results,
    Score,
    are_written,
    read_results,
    read_samples,
    write_results,
    write_samples,
)

FULL = Results(
    checkpoints={
        "base": {"strict/greedy": Score(0.25, 0.1, 0.5, 8), "length": Score(7.5, None, None, 1)},
        "zero": {"lenient/pass@1": Score(0.9, 0.8, 1.0, 8), "strict/greedy": Score(0.8, 0.7, 0.9, 8)},
    },
    kinds={"base": {"chains": {"strict/greedy": Score(0.3, 0.2, 0.4, 4)}}},
    styles={"zero": {"direct": {"strict/pass@1": Score(0.3, 0.2, 0.4, 8)}}},
    split="test",
)
ROW = Replies(
    checkpoint="base",
    problem=3,
    question="1+1?\u2028ω",
    answer="2",
    kind="sums",
    method="samples",
    style="direct",
    texts=("2", "\ufffd"),
    lengths=(1, 8),
    log_probs=(-0.1 - 0.2, 0.0),
    answers=("2", None),
    scores={"strict": (1.0, 0.0)},
    kept=(True, False),
)


def test_results_are_read_as_they_were_written_in_their_order(tmp_path: Path):
    write_results(tmp_path, FULL)
    results = read_results(tmp_path)
    assert results == FULL and list(results.checkpoints) == ["base", "zero"]
    assert results.columns() == ("strict/greedy", "length", "lenient/pass@1")
    assert results.means() == {
        "base/strict/greedy": 0.25, "base/length": 7.5, "zero/lenient/pass@1": 0.9, "zero/strict/greedy": 0.8
    }  # fmt: skip
    content = json.loads((tmp_path / "results.json").read_text())
    assert list(content) == ["checkpoints", "kinds", "styles", "split", "sha256"]
    assert content["checkpoints"]["base"]["length"] == {"mean": 7.5, "low": None, "high": None, "n": 1}


def write(folder: Path, content: Any) -> None:
    (folder / "results.json").write_text(json.dumps(content))


def test_kinds_styles_and_split_may_be_absent(tmp_path: Path):
    write(tmp_path, {"checkpoints": {"base": {"strict": {"mean": 1, "low": 0, "high": 1, "n": 8}}}})
    assert read_results(tmp_path) == Results({"base": {"strict": Score(1.0, 0.0, 1.0, 8)}}, {}, {}, "")


@pytest.mark.parametrize(
    "checkpoints",
    [None, [], {"base": 3}, {"base": {"strict": {"mean": 1}}}, {"base": {"strict": "x"}}, {"base": {"strict": []}},
     {"base": {"strict": {"mean": "nan", "low": 0, "high": 1, "n": 8}}}],
)  # fmt: skip
def test_damaged_results_are_refused_by_file(tmp_path: Path, checkpoints: Any):
    write(tmp_path, {"checkpoints": checkpoints})
    with pytest.raises(InputError, match=r"results\.json"):
        read_results(tmp_path)


@pytest.mark.parametrize("name", ["kinds", "styles"])
@pytest.mark.parametrize("parts", [[], {"base": 1}, {"base": {"chains": 1}}, {"base": {"chains": {"strict": {}}}}])
def test_damaged_parts_are_refused_by_name(tmp_path: Path, name: str, parts: Any):
    write(tmp_path, {"checkpoints": {}, name: parts})
    with pytest.raises(InputError, match=rf"results\.json: {name}"):
        read_results(tmp_path)


def test_a_bit_that_changed_in_results_or_samples_is_told(tmp_path: Path):
    told: list[str] = []
    assert not are_written(tmp_path, told.append)
    write_samples(tmp_path / "samples.jsonl", [ROW])
    write_results(tmp_path, FULL)
    assert are_written(tmp_path, told.append) and read_results(tmp_path) == FULL and told == []
    for name, before, after in (("samples.jsonl", b'"strict"', b'"struct"'), ("results.json", b"7.5", b"7.7")):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content.replace(before, after))
        assert not are_written(tmp_path, told.append) and name in told.pop()
        (tmp_path / name).write_bytes(content)
    (tmp_path / "results.json").write_text((tmp_path / "results.json").read_text().replace("7.5", "7.7"))
    with pytest.raises(InputError, match=r"results\.json is not as it was written"):
        read_results(tmp_path)


def test_what_each_column_took_is_kept(tmp_path: Path):
    results = Results({"base": {}}, tokens={"base": {"majority@4": Score(40.0, 38.0, 42.0, 8)}})
    write_results(tmp_path, results)
    assert read_results(tmp_path) == results


def test_a_missing_file_and_one_that_was_cut_off_are_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"results\.json does not exist"):
        read_results(tmp_path)
    write_results(tmp_path, FULL)
    (tmp_path / "results.json").write_text((tmp_path / "results.json").read_text()[:100])
    with pytest.raises(InputError, match=r"results\.json:\d+: not JSON"):
        read_results(tmp_path)


def test_rows_are_read_as_they_were_written(tmp_path: Path):
    file = tmp_path / "samples.jsonl"
    write_samples(file, (ROW, Replies(**{**vars(ROW), "kept": (), "style": ""})))
    first, second = read_samples(file)
    assert first == ROW and second.kept == () and second.style == ""
    assert list(json.loads(file.read_text().split("\n")[0])) == [
        "checkpoint", "problem", "question", "answer", "kind", "method", "style", "texts", "lengths", "log_probs",
        "answers", "scores", "kept",
    ]  # fmt: skip


def test_a_number_that_json_does_not_have_is_not_written(tmp_path: Path):
    with pytest.raises(ValueError):
        write_samples(tmp_path / "samples.jsonl", [Replies(**{**vars(ROW), "log_probs": (float("nan"), 0.0)})])
    assert not (tmp_path / "samples.jsonl").exists()


DAMAGE = {
    "a text that is none": {"question": None},
    "a number that is none": {"problem": True},
    "a list that is none": {"texts": "2"},
    "another length": {"lengths": [1]},
    "a length that is no whole number": {"lengths": [1, 2.5]},
    "a truth for a number": {"log_probs": [True, 0.0]},
    "an answer that is no text": {"answers": ["2", 2]},
    "scores that are a list": {"scores": [1.0, 0.0]},
    "a score too many": {"scores": {"strict": [1.0, 0.0, 1.0]}},
    "a number for a truth": {"kept": [1, 0]},
    "too few that say whether they were kept": {"kept": [True]},
}


def damaged(file: Path, *changes: dict[str, Any]) -> None:
    """A file of a good row, one a change, and a good row."""
    good = json.loads(json.dumps(vars(ROW)))
    file.write_text("".join(json.dumps({**good, **change}) + "\n" for change in ({}, *changes, {})))


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_row_is_refused_by_file_and_line_or_left_out_and_told(tmp_path: Path, change: dict[str, Any]):
    file, told = tmp_path / "samples.jsonl", []
    damaged(file, change)
    with pytest.raises(InputError, match=r"samples\.jsonl:2 is not a row of replies .*; make the artifact anew"):
        read_samples(file)
    assert read_samples(file, told.append) == (ROW, ROW)
    assert len(told) == 1 and "samples.jsonl:2 is not a row" in told[0] and told[0].endswith("; it is left out")


def test_a_row_without_one_of_its_fields_is_damaged_and_further_fields_are_not_looked_at(tmp_path: Path):
    file, told = tmp_path / "samples.jsonl", []
    damaged(file, {"later": 1})
    text = file.read_text()
    file.write_text(text.replace('"method": "samples", ', "", 1))
    with pytest.raises(InputError, match=r"samples\.jsonl:1 is not a row of replies \(KeyError\('method'\)\)"):
        read_samples(file)
    assert read_samples(file, told.append) == (ROW, ROW) and len(told) == 1


def test_lenient_readers_get_what_lies_before_a_line_that_is_no_json_and_strict_ones_nothing(tmp_path: Path):
    file, told = tmp_path / "samples.jsonl", []
    damaged(file)
    file.write_text(file.read_text() + '{"check')
    with pytest.raises(InputError, match=r"samples\.jsonl:3: the last line is not finished"):
        read_samples(file)
    assert read_samples(file, told.append) == (ROW, ROW) and "samples.jsonl:3" in told[0]
    assert read_samples(tmp_path / "absent.jsonl", told.append) == () and len(told) == 1
    with pytest.raises(InputError, match=r"absent\.jsonl does not exist"):
        read_samples(tmp_path / "absent.jsonl")


def test_confusions_are_read_as_they_were_written_and_damaged_ones_refused(tmp_path: Path):
    confusion = Confusion(("a", "b"), ((3, 1, 0), (0, 2, 2)))
    with_one = Results(checkpoints={"base": {}}, confusions={"base": {"greedy": confusion}})
    write_results(tmp_path, with_one)
    assert read_results(tmp_path) == with_one
    content = json.loads((tmp_path / "results.json").read_text())
    del content["sha256"]
    for damage in (
        {"counts": [[3, 1], [0, 2]]},
        {"counts": [[3, 1, 0]]},
        {"labels": ["a", 1]},
        {"counts": [[0.5] * 3] * 2},
    ):
        whole = content["confusions"]["base"]["greedy"]
        write(tmp_path, {**content, "confusions": {"base": {"greedy": {**whole, **damage}}}})
        with pytest.raises(InputError, match=r"results\.json: confusions\.base\.greedy is not labels and their counts"):
            read_results(tmp_path)


def test_probabilities_of_answers_are_read_as_they_were_written(tmp_path: Path):
    row = Replies(**{**vars(ROW), "probabilities": {"2": 0.75, "3": 0.25}})
    write_samples(tmp_path / "samples.jsonl", [row])
    assert read_samples(tmp_path / "samples.jsonl") == (row,)
