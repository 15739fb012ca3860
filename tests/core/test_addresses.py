"""What lies in an object store is brought here once, whole or not at all."""

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from object_server import serving

from reasoning.core import addresses, object_store
from reasoning.core.addresses import fetched
from reasoning.core.contents import content_of
from reasoning.core.errors import InputError
from reasoning.core.object_store import open_store


@pytest.fixture(scope="module", params=["s3", "gs"])
def server(request):
    with serving(request.param) as running:
        yield running


@pytest.fixture
def url(server, request, tmp_path, monkeypatch):
    server.failing = server.torn = server.every = 0
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(addresses, "open_store", lambda url: replace(open_store(url), waits=(0.0, 0.0)))
    monkeypatch.setattr(object_store, "_GOOGLES_TRIES", 1)
    folder = f"{server.make_bucket(f'a{abs(hash(request.node.name)) % 10**9}')}/data"
    store = open_store(folder)
    for name in ("a.jsonl", "b.jsonl", "c.txt", "deep/a.jsonl"):
        store.write(name, name.encode() * 1000)
    return folder


def again():
    """As another process would."""
    addresses._fetched.cache_clear()


def test_a_path_stays_and_an_object_a_folder_and_a_pattern_are_brought_here(url, tmp_path):
    assert fetched("some/path*.txt") == "some/path*.txt"
    file = Path(fetched(f"{url}/a.jsonl"))
    assert file.name == "a.jsonl" and file.read_bytes() == b"a.jsonl" * 1000
    folder = Path(fetched(f"{url}/"))
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert names == ["a.jsonl", "b.jsonl", "c.txt", "deep/a.jsonl"]
    pattern = Path(fetched(f"{url}/[ab].jsonl"))
    assert sorted(path.name for path in pattern.parent.glob(pattern.name)) == ["a.jsonl", "b.jsonl"]
    assert not (pattern.parent / "c.txt").exists()
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(file.read_bytes())
    assert content_of(f"{url}/a.jsonl", {}, print) == content_of(str(copy), {}, print)


def test_it_is_fetched_once_and_again_where_the_object_or_its_copy_has_changed(url, server):
    def requests(expected: bytes) -> int:
        again()
        before = server.requests
        file = Path(fetched(f"{url}/a.jsonl"))
        assert file.read_bytes() == expected
        return server.requests - before

    first = requests(b"a.jsonl" * 1000)
    assert requests(b"a.jsonl" * 1000) < first
    file = Path(fetched(f"{url}/a.jsonl"))
    file.write_bytes(b"A" + file.read_bytes()[1:])
    assert requests(b"a.jsonl" * 1000) == first
    open_store(url).write("a.jsonl", b"new")
    assert requests(b"new") == first


def test_copies_used_longest_ago_make_room_but_none_that_a_process_works_with(url, tmp_path, monkeypatch):
    cache = tmp_path / "cache" / "reasoning" / "objects"
    used = Path(fetched(f"{url}/a.jsonl")).parent
    for age, name in enumerate(("oldest", "old", "new")):
        (cache / name).mkdir()
        (cache / name / "file").write_bytes(bytes(10_000))
        os.utime(cache / name, (age, age))
    os.utime(used, (0, 0))
    taken = sum(file.stat().st_size for file in cache.rglob("*") if file.is_file())
    monkeypatch.setattr(addresses.shutil, "disk_usage", lambda path: SimpleNamespace(free=taken + 8_000))
    assert Path(fetched(f"{url}/deep")).is_dir()  # 8,000 bytes too many: one of three is enough.
    assert (cache / "old").exists() and (cache / "new").exists() and used.exists() and not (cache / "oldest").exists()
    again()
    addresses._make_room(cache, 10**9)
    assert not (cache / "old").exists() and not (cache / "new").exists() and used.exists()


def test_what_is_not_there_or_stays_away_is_told_in_one_line_and_leaves_nothing(url, server, tmp_path, monkeypatch):
    monkeypatch.setattr(addresses, "open_store", lambda url: replace(open_store(url), waits=()))
    with pytest.raises(InputError, match="nothing lies at .*/none; check the address"):
        fetched(f"{url}/none")
    if url.startswith("gs:"):  # The other library tries for six seconds.
        server.every = 1
        with pytest.raises(InputError, match="/data: .*; check the address, the rights there and the network"):
            fetched(url)
        server.every = 0
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_torn_answers_and_failures_that_pass_leave_a_whole_copy(url, server):
    server.failing, server.torn = 1, 1
    assert Path(fetched(f"{url}/b.jsonl")).read_bytes() == b"b.jsonl" * 1000
