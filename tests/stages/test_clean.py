"""What a stage leaves out of files is the same for every process and after a kill, and written down."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import pytest
import tiny_stages
from tiny_stages import CORPUS, Surroundings, work

from reasoning.core.files import read_jsonl
from reasoning.data.chat.format import ChatFormat
from reasoning.data.duplicates import Duplicates
from reasoning.data.sources import DocumentSource, Jsonl
from reasoning.stages.clean import REMOVED, clean, clean_beginning

CHAT = ChatFormat()


@pytest.fixture
def source(tmp_path: Path) -> Jsonl:
    lines = (json.dumps({"text": f"3+{number % 4}"}) + "\n" for number in range(10))
    (tmp_path / "a.jsonl").write_text("".join(lines))
    return Jsonl(str(tmp_path / "a.jsonl"))


def texts(sources: tuple[DocumentSource, ...]) -> list[str]:
    return [document.text() for source in sources for document in source.documents(CHAT, 0)]


def test_cleaning_is_done_once_and_read_by_every_process(
    source: Jsonl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    around = Surroundings()
    arguments = ((source,), (Duplicates(),), CHAT, 0, tmp_path, "corpus")
    first, counts = clean(*arguments, around.context())
    assert counts == {"looked_at": 10, "removed": 6, "removed/exact duplicates": 6}
    [warning] = around.warnings
    assert warning.startswith("stage corpus left out 6 of 10 documents read from files: 6 exact duplicates; ")
    assert [row["document"] for row in read_jsonl(tmp_path / REMOVED)] == [
        f"document {number} of {source.path}" for number in range(4, 10)
    ]
    beginning = texts(clean_beginning(*arguments[:4]))
    monkeypatch.setattr("reasoning.stages.clean.find_kept", None)
    again, recounted = clean(*arguments, around.context())
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    elsewhere, _ = clean(*arguments, around.context())
    assert texts(first) == texts(again) == texts(elsewhere) == beginning
    assert recounted == counts and len(around.warnings) == 1


def test_a_stage_says_what_it_left_out_and_peeks_at_the_same_rows(source: Jsonl, tmp_path: Path):
    stage = replace(CORPUS, sources=(*CORPUS.sources, source))
    made = work(stage, tmp_path)
    assert made.results["removed"] == made.results["removed/exact duplicates"] == 6 and made.results["documents"] == 304
    assert (made.path / REMOVED).exists()
    tokenizer, rows = stage.peek(1000)
    assert len(rows) == made.results["rows"]
    everything = work(replace(stage, name="all", cleaning=()), tmp_path)
    assert everything.results["documents"] == 310 and "removed" not in everything.results


def test_where_no_file_is_read_nothing_is_cleaned(tmp_path: Path):
    sources, counts = clean(CORPUS.sources, CORPUS.cleaning, CHAT, 0, tmp_path, "corpus", Surroundings().context())
    assert sources == CORPUS.sources and counts == {} and not list(tmp_path.iterdir())
    assert "removed" not in work(tiny_stages.CORPUS, tmp_path).results
