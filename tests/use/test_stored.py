"""What is written to an object store is there whole, or isn't a model yet."""

from pathlib import Path

import pytest
from object_server import serving

from reasoning.core.artifact import RECORD, damage_of
from reasoning.core.errors import InputError
from reasoning.core.object_store import ObjectStore, open_store
from reasoning.stages.checkpoint import CONFIG
from reasoning.use.stored import written_to

FILES = {"model.safetensors": b"w" * 5000, "tokenizer/vocabulary": b"v", CONFIG: b"{}", "config.json": b"{}"}


@pytest.fixture(scope="module", params=["s3", "gs"])
def server(request):
    with serving(request.param) as running:
        yield running


def make(url: str, files: dict[str, bytes] = FILES) -> None:
    with written_to(url) as folder:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


def test_a_path_stays_a_path(tmp_path: Path):
    with written_to(str(tmp_path / "out")) as folder:
        assert folder == tmp_path / "out" and not folder.exists()


@pytest.mark.parametrize("objects", range(1, len(FILES) + 1))
def test_a_torn_copy_is_no_model_until_the_same_command_has_completed_it(server, monkeypatch, tmp_path, objects):
    url = f"{server.make_bucket(f'torn{objects}')}/model"
    usual, done = ObjectStore.upload, []

    def torn(self: ObjectStore, name: str, file: Path, size: int) -> str:
        if len(done) == objects:
            raise InputError("the network is gone")
        done.append(name)
        return usual(self, name, file, size)

    with monkeypatch.context() as patched, pytest.raises(InputError, match="network"):
        patched.setattr(ObjectStore, "upload", torn)
        make(url, FILES | {"left_over": b"of other settings"})
    there = open_store(url).objects()
    assert RECORD not in there and (not {CONFIG, "config.json"} & there.keys() or "model.safetensors" in there)
    make(url)
    store = open_store(url)
    assert store.objects().keys() == {*FILES, RECORD}
    for name in store.objects():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        store.download(name, tmp_path / name)
    assert damage_of(tmp_path) == "" and (tmp_path / "model.safetensors").read_bytes() == b"w" * 5000
    with pytest.raises(InputError, match="holds something already; give another address"):
        make(url)


def test_what_others_have_put_there_is_left_alone(server):
    url = f"{server.make_bucket('others')}/model"
    open_store(url).write("theirs", b"content")
    with pytest.raises(InputError, match="holds something already"):
        make(url)
    assert open_store(url).read("theirs") == b"content" and open_store(url).objects().keys() == {"theirs"}
