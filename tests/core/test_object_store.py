import hashlib
from dataclasses import replace

import pytest
from object_server import serving
from pyarrow import ArrowInvalid

from reasoning.core import object_store
from reasoning.core.errors import InputError
from reasoning.core.object_store import open_store


@pytest.fixture(scope="module", params=["s3", "gs"])
def server(request):
    with serving(request.param) as running:
        yield running


@pytest.fixture
def store(server, request, monkeypatch):
    monkeypatch.setattr(object_store, "_GOOGLES_TRIES", 1)
    bucket = server.make_bucket(f"b{abs(hash(request.node.name)) % 10**9}")
    return replace(open_store(f"{bucket}/runs/one"), waits=(0.0, 0.0, 0.0))


def test_what_was_put_comes_back_and_what_was_not_is_none(store, tmp_path):
    store.write("a/small", b"text")
    assert store.read("a/small") == b"text" and store.read("a/other") is None
    file, content = tmp_path / "large", bytes(range(256)) * 40_000
    file.write_bytes(content + b"what was written later")
    digest = hashlib.sha256(content).hexdigest()
    assert store.upload("a/large", file, len(content)) == digest
    assert store.download("a/large", tmp_path / "back") == digest
    assert (tmp_path / "back").read_bytes() == content
    assert store.download("a/none", tmp_path / "none") is None
    assert sorted(store.changed("a")) == ["a/large", "a/small"] and store.changed("nothing") == {}
    for _ in range(2):
        store.remove("a/small")
    assert sorted(store.changed("")) == ["a/large"]


class Overtaken:
    """A store from which someone else removes an object between two requests of a call, in a library's own words."""

    def __init__(self, filesystem):
        self.filesystem, self.get_file_info = filesystem, filesystem.get_file_info

    def open_input_stream(self, path):
        self.filesystem.delete_file(path)
        raise OSError("AWS Error RESOURCE_NOT_FOUND during GetObject operation: ")

    def delete_file(self, path):
        self.filesystem.delete_file(path)
        raise OSError("google::cloud::Status(NOT_FOUND: No such object)")


def test_what_is_removed_while_it_is_read_or_removed_is_not_there(store, tmp_path):
    overtaken = replace(store, filesystem=Overtaken(store.filesystem))
    for way in (overtaken.read, lambda name: overtaken.download(name, tmp_path / "file"), overtaken.remove):
        store.write("name", b"text")
        assert way("name") is None and store.changed("") == {}


def test_a_file_that_lost_its_end_is_no_upload(store, tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    with pytest.raises(InputError, match="has lost its last 2 bytes"):
        store.upload("file", tmp_path / "file", 5)


def test_failures_that_pass_are_waited_for_and_torn_answers_are_not_believed(store, server, tmp_path):
    content = bytes(1_000_000)
    (tmp_path / "file").write_bytes(content)
    failures = 1 if store.url.startswith("gs:") else 4  # Google's library waits a second after each.
    server.failing = failures
    digest = store.upload("file", tmp_path / "file", len(content))
    server.failing = failures
    assert store.download("file", tmp_path / "back") == digest == hashlib.sha256(content).hexdigest()
    server.torn = 1
    assert store.download("file", tmp_path / "back") == digest
    server.torn = 0


class RefusingOnce:
    def __init__(self, filesystem):
        self.filesystem, self.refused = filesystem, False

    def open_output_stream(self, path):
        if self.refused:
            return self.filesystem.open_output_stream(path)
        self.refused = True
        raise ArrowInvalid("google::cloud::Status(INVALID_ARGUMENT: Invalid Content-Range start: expected 0, got 1)")


def test_an_upload_that_broke_off_in_a_way_that_the_library_takes_for_a_wrong_argument_begins_anew(store):
    refusing = replace(store, filesystem=RefusingOnce(store.filesystem))
    refusing.write("name", b"text")
    assert refusing.filesystem.refused and store.read("name") == b"text"


def test_what_stays_away_is_told_in_one_line(store, server):
    server.failing = 1000
    with pytest.raises(InputError) as told:
        replace(store, waits=()).read("name")
    assert str(told.value).startswith(f"{store.url}: name: ") and "error_info" not in str(told.value)
    assert str(told.value).endswith(
        "; check the address, the rights there and the network, and run the same command again"
    )
    server.failing = 0


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("/tmp/folder", "is no object store; write s3://BUCKET/FOLDER or gs://"),
        ("s3://bucket", "names a bucket alone; add a folder of its own for this run: s3://bucket/RUN"),
        ("s3://", "names a bucket alone"),
        ("gs://bucket", "names a bucket alone; add a folder of its own for this run: gs://bucket/RUN"),
        ("gs://bucket/run?region=here", "can't be opened: .*'region'.*; check the address"),
        ("s3://bucket name/run", "can't be opened: .*; check the address"),
    ],
)
def test_an_address_that_is_none_is_refused(url, told):
    with serving(), pytest.raises(InputError, match=told):
        open_store(url)


def test_a_bucket_that_is_not_there_is_told_at_once(store, server):
    missing = open_store(store.url.replace(store.root, "no-such-bucket/run"))
    before = server.requests
    with pytest.raises(InputError, match="no-such-bucket"):
        missing.write("name", b"x")
    assert server.requests == before + 1
