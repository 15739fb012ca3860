import gzip
import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.core.errors import InputError
from reasoning.data import lines
from reasoning.data.lines import open_lines


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("lines") / "file.txt"


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), max_size=6), max_size=8),
    st.booleans(),
    st.integers(1, 9),
)
@settings(max_examples=150)
def test_lines_are_what_splitting_at_newlines_gives_but_for_blank_ones(path, texts, finished, block):
    path.write_bytes(("\n".join(texts) + "\n" * finished).encode())
    split = enumerate(path.read_bytes().decode("utf-8-sig").split("\n"), start=1)
    expected = [(number, text) for number, text in split if text.strip(" \t\r")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "_BLOCK", block)
        found = open_lines(path)
    assert [(found.number(n), found[n]) for n in range(len(found))] == expected


def test_other_line_separators_do_not_end_a_line(tmp_path):
    (tmp_path / "f").write_bytes("a\u2028b\rc\x0bd\x85e\nf".encode())
    found = open_lines(tmp_path / "f")
    assert [found[0], found[1]] == ["a\u2028b\rc\x0bd\x85e", "f"]


def test_a_line_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "f").write_bytes(b"fine\nbad \xff\n")
    found = open_lines(tmp_path / "f")
    assert found[0] == "fine"
    with pytest.raises(InputError, match=r"f:2: not UTF-8 text \(byte 4"):
        found[1]


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="no file"):
        open_lines(tmp_path / "none")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("last", [b"", b"\n", b"\r\n\r\n  \n"])
def test_records_are_the_same_however_a_system_writes_the_file(tmp_path, mark, end, last):
    (tmp_path / "f").write_bytes(mark + end.join([b'{"a": 1}', b"", b" \t", b'{"a": "\xc3\xa9"}']) + last)
    found = open_lines(tmp_path / "f")
    assert [found.record(n) for n in range(len(found))] == [{"a": 1}, {"a": "é"}]
    assert [found.number(n) for n in range(len(found))] == [1, 4]


def test_a_record_that_cannot_be_read_is_named_by_its_line_in_the_file(tmp_path):
    (tmp_path / "f").write_bytes(b"\xef\xbb\xbf\n\n[1]\n{")
    found = open_lines(tmp_path / "f")
    for index, match in enumerate(["f:3: expected a JSON object, got list", "f:4: not JSON"]):
        with pytest.raises(InputError, match=match):
            found.record(index)


def compress(path, data):
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(data[: len(data) // 2]) + gzip.compress(data[len(data) // 2 :]))
    else:
        with pa.CompressedOutputStream(pa.OSFile(str(path), "wb"), "zstd") as file:
            file.write(data)
    return path


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), max_size=6), max_size=8),
    st.booleans(),
    st.data(),
)
@settings(max_examples=60)
def test_a_compressed_file_has_the_lines_of_the_plain_one_in_any_order(path, suffix, texts, finished, data):
    path.write_bytes(("\n".join(texts) + "\n" * finished).encode())
    plain = open_lines(path)
    found = open_lines(compress(path.with_suffix(f".txt{suffix}"), path.read_bytes()))
    assert len(found) == len(plain)
    for index in data.draw(st.permutations(range(len(plain)))):
        assert (found.number(index), found[index]) == (plain.number(index), plain[index])


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_compressed_file_that_is_cut_short_or_damaged_is_named_with_its_line(tmp_path, suffix):
    rows = "".join(json.dumps({"text": f"{number**7}"}) + "\n" for number in range(5000)).encode()
    file = compress(tmp_path / f"rows.jsonl{suffix}", rows)
    whole = file.read_bytes()
    assert len(open_lines(file)) == 5000
    for broken in (whole[: len(whole) // 2], b"no" + whole, whole[:-1]):
        file.write_bytes(broken)
        with pytest.raises(InputError, match=rf"rows.jsonl{suffix}:\d+: the compressed file can't be read on: .*fetch"):
            open_lines(file)
