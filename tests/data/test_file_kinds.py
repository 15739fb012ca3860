import gzip
from pathlib import Path

import pytest

from reasoning.core.errors import InputError
from reasoning.data.file_kinds import check_file, check_text_file


def test_texts_are_let_be_whatever_they_are_called(tmp_path: Path):
    for number, content in enumerate((b"", b"a", b"\xef\xbb\xbfa", b"PAR", "é".encode(), b"\x1f")):
        path = tmp_path / f"{number}.gz"
        path.write_bytes(content)
        check_text_file(path)


def test_what_is_no_text_is_named_by_how_it_begins(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    for content, said in ((gzip.compress(b"a"), "compressed by gzip"), ("a".encode("utf-16"), "text in UTF-16")):
        path.write_bytes(content)
        check_file(path)
        with pytest.raises(InputError, match=f"a.jsonl is no file of lines: it is {said}"):
            check_text_file(path)


def test_what_is_no_file_is_named(tmp_path: Path):
    for path, said in (
        (tmp_path, "is a folder"),
        (tmp_path / "a", "there is no file"),
        (Path("/dev/null"), "a device"),
    ):
        with pytest.raises(InputError, match=said):
            check_file(path)
    for name in ("a\0b", "x" * 5000):
        with pytest.raises(InputError, match=r"there is no file|can't be read: File name too long"):
            check_file(tmp_path / name)
