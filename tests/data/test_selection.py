import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.sources import Jsonl, Parquet, TextFolder

CHAT = ChatFormat()
ROWS = [
    {"text": "a" * size, "language": language, "score": score, "url": f"u{size}"}
    for size, language, score in [(1, "en", 1), (2, "de", 5), (3, "en", 5), (4, "fr", 2), (5, "en", 3), (6, "de", 1)]
]


def good(row):
    return row["score"] > 2


SELECTIONS = [
    ({}, lambda row: True),
    ({"column": "language", "values": ("en", "fr")}, lambda row: row["language"] in ("en", "fr")),
    ({"column": "score", "values": ("5", "1")}, lambda row: row["score"] in (5, 1)),
    ({"minimum_characters": 3}, lambda row: len(row["text"]) >= 3),
    ({"maximum_characters": 4, "minimum_characters": 2}, lambda row: 2 <= len(row["text"]) <= 4),
    ({"accept": good, "keep_columns": ("score",)}, good),
    (
        {"accept": good, "keep_columns": ("score", "url"), "column": "language", "values": ("en",)},
        lambda row: good(row) and row["language"] == "en",
    ),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "rows.parquet", row_group_size=4)
    return folder


@pytest.mark.parametrize(("selection", "expected"), SELECTIONS)
@pytest.mark.parametrize("kind", [Jsonl, Parquet])
def test_rows_that_are_selected_become_documents_in_their_order(files: Path, kind, selection, expected):
    source = kind(f"{files}/rows.{kind.__name__.lower()}", columns=("text",), **selection)
    documents = source.documents(CHAT, 0)
    wanted = [row for row in ROWS if expected(row)]
    assert [document.pieces for document in documents] == [CHAT.plain(row["text"]).pieces for row in wanted]
    kept = selection.get("keep_columns", ())
    assert [dict(document.columns) for document in documents] == [{name: row[name] for name in kept} for row in wanted]


@pytest.mark.parametrize("kind", [Jsonl, Parquet])
def test_a_function_of_the_row_sees_the_columns_that_are_read_and_no_others(files: Path, kind):
    seen: list[set[str]] = []

    def accept(row):
        seen.append(set(row))
        return True

    path = f"{files}/rows.{kind.__name__.lower()}"
    len(kind(path, columns=("text",), accept=accept, keep_columns=("url",)).documents(CHAT, 0))
    assert seen == [{"text", "url"}] * len(ROWS)


def test_characters_are_those_of_all_texts_of_a_row_in_every_form(tmp_path: Path):
    conversation = [{"role": "user", "content": "ab"}, {"role": "assistant", "content": "c"}]
    rows = [{"messages": conversation}, {"prompt": "é", "completion": "bc"}, {"text": "abc"}, {"text": "ab"}]
    (tmp_path / "f.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(Jsonl(f"{tmp_path}/f.jsonl", minimum_characters=3, maximum_characters=3).documents(CHAT, 0)) == 3


def test_files_of_text_can_be_selected_by_their_path(tmp_path: Path):
    for name in ("a/guide.rst", "a/changes.rst", "b/c/guide.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    source = TextFolder(f"{tmp_path}/**/*.rst", accept=lambda row: "guide" in row["path"], keep_columns=("path",))
    [document] = source.documents(CHAT, 0)
    assert document.pieces == CHAT.plain("a/guide.rst").pieces
    assert document.columns == (("path", f"{tmp_path}/a/guide.rst"),) and source.reads() == (f"{tmp_path}/**/*.rst",)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"column": "topic", "values": ("x",)}, r"rows.*(:1|row 0 of the source): there is no column 'topic'; columns"),
        ({"keep_columns": ("topic",)}, "there is no column 'topic'"),
        ({"minimum_characters": 100}, "none of its 6 rows is selected"),
    ],
)
@pytest.mark.parametrize("kind", [Jsonl, Parquet])
def test_a_selection_that_fits_no_row_is_refused(files: Path, kind, settings, match):
    with pytest.raises(InputError, match=match):
        list(kind(f"{files}/rows.{kind.__name__.lower()}", **settings).documents(CHAT, 0))


def test_half_a_selection_is_refused():
    with pytest.raises(InputError, match="go together"):
        Jsonl("f", column="language")
    with pytest.raises(InputError, match="no text has at least 3 and at most 2"):
        Jsonl("f", minimum_characters=3, maximum_characters=2)
