import hashlib
import os

import pytest

from reasoning.core import fingerprints as told
from reasoning.core.fingerprints import difference, fingerprints, hash_once, vouch, vouched


def test_files_are_told_by_size_and_sha256(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/a").write_bytes(b"abc")
    expected = {"deep/a": {"bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}}
    assert fingerprints(tmp_path, tmp_path.rglob("a")) == expected
    assert difference(tmp_path / "deep/a", expected["deep/a"], None) == ""


def test_a_settled_file_is_read_once_and_again_when_it_has_changed(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(told, "hash_file", lambda path: read.append(path) or "digest")
    file = tmp_path / "a"
    file.write_bytes(b"abc")
    assert [hash_once(file) for _ in range(2)] == ["digest"] * 2 and len(read) == 2  # It may change within a tick.
    monkeypatch.setattr(told, "_SETTLED_SECONDS", 0)
    assert [hash_once(file) for _ in range(3)] == ["digest"] * 3 and len(read) == 3
    os.utime(file, ns=(1, 1))
    assert hash_once(file) == "digest" and len(read) == 4


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_told_and_never_opened(tmp_path, make):
    make(tmp_path / "a")
    assert difference(tmp_path / "a", {"bytes": 0, "sha256": ""}, None).endswith("a is no file")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda file, voucher: file.write_bytes(b"abd"), "has other content than was written"),
        (lambda file, voucher: file.unlink(), "does not exist"),
        (lambda file, voucher: voucher.write_bytes(b"[]"), "a.sha256 is not as it was written"),
        (lambda file, voucher: voucher.write_bytes(b"\xff"), "a.sha256 is not as it was written"),
        (lambda file, voucher: voucher.unlink(), None),
    ],
)
def test_a_file_of_unfinished_work_counts_as_it_was_vouched_for(tmp_path, damage, complaint):
    file, heard = tmp_path / "a", []
    file.write_bytes(b"abc")
    assert not vouched(file, heard.append) and heard == []
    vouch(file)
    assert vouched(file, heard.append) and heard == []
    damage(file, tmp_path / "a.sha256")
    assert not vouched(file, heard.append)
    assert [complaint in line for line in heard] == ([] if complaint is None else [True])
