"""Every reader of data against ``hostile_files``: one clear line each; and bad rows that are passed over."""

import gzip
import json
import re
from pathlib import Path

import pytest
from hostile_files import (
    BAD_CONVERSATIONS,
    BAD_LINES,
    BAD_PARQUET,
    BAD_TEXTS,
    COMPRESSED,
    FILES,
    Hostile,
    parquet,
    zstandard,
)

from reasoning.core.errors import BadRow, InputError
from reasoning.data.bad_rows import (
    BAD_ROWS,
    BadRows,
    PassesOver,
    Readable,
    keep_bad_rows,
    listed,
    without_bad_rows,
)
from reasoning.data.chat.format import ChatFormat
from reasoning.data.sources import Generated, Jsonl, Parquet, TextFolder, mix
from reasoning.tasks.question_files import QuestionColumns, QuestionFile

CHAT = ChatFormat()
GOOD = {
    "documents": {"text": "a"},
    "conversations": {"messages": [{"role": "user", "content": "1?"}, {"role": "assistant", "content": "2"}]},
    "questions": {"question": "1?", "answer": "#### 1"},
}


def documents_of(path: Path, limit: int = 0) -> tuple[int, BadRows]:
    """How many documents of a file can be read, and those that can't."""
    bad, documents = BadRows("here", limit), Jsonl(str(path)).documents(CHAT, 0)
    return sum(1 for _ in bad.readable(len(documents), documents.__getitem__)), bad


def questions_of(path: Path, limit: int = 0) -> tuple[int, BadRows]:
    """The same of questions, of which a file holds equal ones once."""
    task = QuestionFile(path=str(path), test_path=str(path), skip_bad=limit)
    return len(task.problems("train", 1, 0)), BadRows("here", limit, dict.fromkeys(task.bad_rows()))


READERS = {"documents": documents_of, "conversations": documents_of, "questions": questions_of}


def one_line(error: InputError, path: Path, said: str) -> None:
    """What is said of a file stands on one line, begins with its place, and isn't long."""
    told = str(error)
    assert "\n" not in told and str(path) in told and len(told) < 600, told
    assert re.search(said, told), told


def test_there_are_enough_hostile_files():
    parts = 3 * (len(BAD_LINES) + len(FILES)) + len(BAD_CONVERSATIONS) + len(BAD_PARQUET) + len(BAD_TEXTS)
    assert parts >= 180


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("title", BAD_LINES)
def test_a_bad_line_is_told_by_its_number_and_passed_over_where_that_is_allowed(tmp_path: Path, reader, title):
    bad, said = BAD_LINES[title]
    path, good = tmp_path / "data.jsonl", json.dumps(GOOD[reader]).encode()
    path.write_bytes(b"\n".join([good, b"", bad, good, b""]))
    with pytest.raises(BadRow) as caught:
        READERS[reader](path)
    one_line(caught.value, path, said)
    assert str(caught.value).startswith(f"{path}:3")
    read, passed = READERS[reader](path, 1)
    assert read == {"questions": 1}.get(reader, 2) and list(passed.told) == [str(caught.value)]
    assert [entry.name for entry in tmp_path.iterdir()] == ["data.jsonl"]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("hostile", (*FILES, *COMPRESSED), ids=lambda hostile: hostile.title)
def test_a_file_of_another_kind_is_told_in_one_line(tmp_path: Path, reader, hostile: Hostile):
    path = tmp_path / hostile.name
    hostile.make(path)
    before = list(tmp_path.iterdir())
    with pytest.raises(InputError) as caught:
        READERS[reader](path)
    one_line(caught.value, path, hostile.said)
    assert list(tmp_path.iterdir()) == before


@pytest.mark.parametrize("title", BAD_CONVERSATIONS)
def test_a_conversation_that_can_not_be_used_is_told_by_its_line(tmp_path: Path, title):
    value, said = BAD_CONVERSATIONS[title]
    path = tmp_path / "data.jsonl"
    path.write_text(f"{json.dumps(GOOD['conversations'])}\n{json.dumps({'messages': value})}\n")
    with pytest.raises(BadRow) as caught:
        documents_of(path)
    one_line(caught.value, path, said)
    assert str(caught.value).startswith(f"{path}:2, messages")
    assert documents_of(path, 1)[0] == 1


@pytest.mark.parametrize("hostile", BAD_PARQUET, ids=lambda hostile: hostile.title)
def test_a_bad_parquet_file_is_told_by_its_row_or_name(tmp_path: Path, hostile: Hostile):
    path = tmp_path / "data.parquet"
    hostile.make(path)
    with pytest.raises(InputError) as caught:
        list(Parquet(str(path)).documents(CHAT, 0))
    one_line(caught.value, path, hostile.said)
    assert isinstance(caught.value, BadRow) == ("row " in hostile.said)


@pytest.mark.parametrize("hostile", BAD_TEXTS, ids=lambda hostile: hostile.title)
def test_a_bad_text_of_a_folder_is_told_by_its_name_and_may_be_passed_over(tmp_path: Path, hostile: Hostile):
    hostile.make(tmp_path / hostile.name)
    (tmp_path / "b.txt").write_text("fine")
    documents = TextFolder(str(tmp_path)).documents(CHAT, 0)
    with pytest.raises(BadRow) as caught:
        list(documents)
    one_line(caught.value, tmp_path / hostile.name, hostile.said)
    assert list(BadRows("here", 1).readable(2, documents.__getitem__)) == [CHAT.plain("fine")]


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "data.jsonl"
    path.write_text('{"text": "a"}\n')
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may read what nobody may
    for read in (documents_of, questions_of, lambda path: Parquet(str(path)).documents(CHAT, 0)):
        with pytest.raises(InputError, match=r"data.jsonl can't be read: Permission denied"):
            read(path)


@pytest.mark.parametrize(
    ("question", "answer", "said"),
    [
        (3, "#### 1", "column 'question' is 3"),
        (None, "#### 1", "column 'question' is None"),
        ("", "#### 1", "column 'question' is ''"),
        (["1?"], "#### 1", "column 'question' is .'1.'."),
        ("1?", 1, "column 'answer' is 1"),
        ("1?", " ", "column 'answer' is ' '"),
        ("1?", "one", "column 'answer' has no '####' before its answer"),
    ],
)
def test_a_question_of_a_wrong_type_is_told_by_its_line(tmp_path: Path, question, answer, said):
    path = tmp_path / "data.jsonl"
    path.write_text(f"{json.dumps(GOOD['questions'])}\n{json.dumps({'question': question, 'answer': answer})}\n")
    with pytest.raises(BadRow) as caught:
        questions_of(path)
    one_line(caught.value, path, said)
    assert str(caught.value).startswith(f"{path}:2:")


ODD_BUT_GOOD = {
    "a mark": b'\xef\xbb\xbf{"text": "a"}\n',
    "CRLF": b'{"text": "a"}\r\n',
    "blank lines": b'\n\r\n{"text": "a"}\n  \n',
    "no last newline": b'{"text": "a"}',
    "spaces around": b' \t{"text": "a"} \n',
    "other columns": b'{"id": 7, "text": "a", "meta": {"x": [null, 1e300]}}\n',
    "escapes": b'{"text": "\\u0061"}\n',
    "a deep column": b'{"text": "a", "m": ' + b"[" * 90 + b"]" * 90 + b"}\n",
}


def test_compressed_files_of_several_members_are_read_whole(tmp_path: Path):
    (tmp_path / "data.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a"}\n{"te') + gzip.compress(b'xt": "b"}'))
    (tmp_path / "data.jsonl.zst").write_bytes(zstandard(b'{"text": "a"}\n{"te') + zstandard(b'xt": "b"}\n'))
    for name in ("data.jsonl.gz", "data.jsonl.zst"):
        assert list(Jsonl(f"{tmp_path}/{name}").documents(CHAT, 0)) == [CHAT.plain("a"), CHAT.plain("b")]


def test_a_selection_leaves_bad_rows_to_whoever_may_pass_over_them(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{\n{"text": "bb"}\n{"body": "b"}\n{"text": "cc"}\n')
    documents = Jsonl(f"{tmp_path}/a.jsonl", minimum_characters=2).documents(CHAT, 0)
    bad = BadRows("here", 2)
    found = list(bad.readable(len(documents), documents.__getitem__))
    assert found == [CHAT.plain("bb"), CHAT.plain("cc")]
    (tmp_path / "b.jsonl").write_text('{"text": "a", "x": 1}\n{"text": "b"}\n')
    lacking = Jsonl(f"{tmp_path}/b.jsonl", column="x", values=("1",)).documents(CHAT, 0)
    with pytest.raises(BadRow, match=r"b.jsonl:2: there is no column 'x'"):
        list(lacking)
    assert [row.split(": ")[0] for row in bad.told] == [f"{tmp_path}/a.jsonl:{number}" for number in (2, 4)]


@pytest.mark.parametrize("title", ODD_BUT_GOOD)
def test_what_is_odd_but_good_is_read(tmp_path: Path, title):
    (tmp_path / "data.jsonl").write_bytes(ODD_BUT_GOOD[title])
    assert list(Jsonl(f"{tmp_path}/data.jsonl").documents(CHAT, 0)) == [CHAT.plain("a")]


def test_a_conversation_of_twenty_thousand_turns_is_read(tmp_path: Path):
    """Neighbours that are only read are joined once, not one after the other."""
    turns = [{"role": "user", "content": f"turn {number}"} for number in range(20_000)]
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps({"messages": [*turns, {"role": "assistant", "content": "yes"}]}))
    (document,) = Jsonl(str(path)).documents(CHAT, 0)
    assert len(document.pieces) == 2 and document.pieces[0].text.count("<|user|>") == 20_000


def test_more_bad_rows_than_are_allowed_are_listed(tmp_path: Path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"text": "a"}\n[\n{"text": 3}\n{"text": "b"}\n{"body": "c"}\n')
    assert documents_of(path, 3)[0] == 2
    with pytest.raises(InputError) as caught:
        documents_of(path, 2)
    head, *rows = str(caught.value).split("\n")
    assert head == "here: more than 2 bad rows, as many as skip_bad allows; mend the data, or raise skip_bad:"
    assert [row.split(": ")[0].split(",")[0] for row in rows] == [f"  {path}:{number}" for number in (2, 3, 5)]
    assert rows == listed(documents_of(path, 3)[1].told).split("\n")[1:]


def test_a_row_that_is_read_twice_counts_once_and_other_errors_pass():
    def read(index: int) -> int:
        if index % 2:
            raise BadRow("a:1: odd")
        return index

    bad = BadRows("here", 1)
    assert list(bad.readable(6, read)) == [0, 2, 4] and list(bad.told) == ["a:1: odd"]
    with pytest.raises(BadRow, match=r"a:1: odd"):
        list(BadRows("here", 0).readable(6, read))

    def fail(index: int) -> int:
        raise InputError("the file is gone")

    with pytest.raises(InputError, match="the file is gone"):
        list(BadRows("here", 9).readable(6, fail))


def test_the_list_in_a_folder_holds_each_row_once(tmp_path: Path):
    keep_bad_rows(tmp_path, ())
    assert not (tmp_path / BAD_ROWS).exists()
    keep_bad_rows(tmp_path, ["a:1: x", "a:2: y"])
    keep_bad_rows(tmp_path, ["a:2: y", "b:1: z"])
    assert (tmp_path / BAD_ROWS).read_text() == "a:1: x\na:2: y\nb:1: z\n"


def test_questions_are_the_same_whether_bad_lines_stand_between_them_or_not(tmp_path: Path):
    rows = [{"q": f"{number}?", "a": str(number)} for number in range(40)]
    good, mixed = tmp_path / "good.jsonl", tmp_path / "mixed.jsonl"
    good.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    mixed.write_text(
        "".join(f"{json.dumps(row)}\n{{\n" if row["q"] in ("3?", "30?") else f"{json.dumps(row)}\n" for row in rows)
    )
    columns = QuestionColumns(question="q", answer="a", marker="")
    task = QuestionFile(path=str(mixed), columns=columns, skip_bad=2)
    assert task.problems("train", 30, 0) == QuestionFile(path=str(good), columns=columns).problems("train", 30, 0)
    assert isinstance(task, PassesOver) and [row.split(": ")[0] for row in task.bad_rows()] == [
        f"{mixed}:5",
        f"{mixed}:33",
    ]
    assert QuestionFile(path=str(good), columns=columns).bad_rows() == ()
    both = QuestionFile(path=str(good), test_path=str(mixed), columns=columns, skip_bad=2)
    assert both.leaks().startswith("40 of the 40 questions")
    with pytest.raises(InputError, match="mixed.jsonl: more than 1 bad rows"):
        QuestionFile(path=str(mixed), columns=columns, skip_bad=1).problems("train", 30, 0)


def test_a_parquet_row_may_be_passed_over(tmp_path: Path):
    (tmp_path / "a.parquet").write_bytes(parquet({"text": ["a", None, "b"]}))
    documents = Parquet(f"{tmp_path}/a.parquet").documents(CHAT, 0)
    bad = BadRows("here", 1)
    assert list(bad.readable(3, documents.__getitem__)) == [CHAT.plain("a"), CHAT.plain("b")]
    assert list(bad.told) == [f"{tmp_path}/a.parquet, row 1 of the source, text: expected a text, got None"]


def test_sources_lose_their_bad_rows_before_they_are_mixed(tmp_path: Path):
    for name, lines in (("a", ("{", '{"text": "a"}', '{"text": "b"}', "[]")), ("b", ('{"text": "c"}',))):
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    written = Generated(lambda seed, index, chat: chat.plain(f"g{index}"), count=2)
    sources = (Jsonl(f"{tmp_path}/a.jsonl", weight=2.0), Jsonl(f"{tmp_path}/b.jsonl"), written)
    bad = BadRows("here", 2)
    first, *others = without_bad_rows(sources, bad, CHAT, 0)
    assert list(first.documents(CHAT, 0)) == [CHAT.plain("a"), CHAT.plain("b")]
    assert isinstance(first, Readable) and (first.weight, first.reads()) == (2.0, (f"{tmp_path}/a.jsonl",))
    assert others == list(sources[1:]) and [row.split(": ")[0] for row in bad.told] == [
        f"{tmp_path}/a.jsonl:{number}" for number in (1, 4)
    ]
    assert sorted(document.text()[9] for document in mix((first, *others), CHAT, 0)) == list("aabbcgg")
    assert without_bad_rows(sources, BadRows("here", 0), CHAT, 0) == sources
    (tmp_path / "b.jsonl").write_text("[]\n")
    with pytest.raises(InputError, match=r"(?s)here: none of the 1 rows of a source can be used:.*b.jsonl:1: "):
        without_bad_rows(sources[1:], BadRows("here", 5), CHAT, 0)
