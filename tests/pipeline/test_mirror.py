import hashlib
import json
import random
import shutil
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from object_server import serving

from reasoning.core.errors import InputError
from reasoning.core.hashes import hash_file
from reasoning.core.object_store import open_store
from reasoning.pipeline.mirror import Mirror, copy_run_files
from reasoning.pipeline.run import Run
from reasoning.training.preemption import Interrupted

from .conftest import Kit, Story


@pytest.fixture(scope="module")
def server(request):
    with serving(getattr(request, "param", "s3")) as running:
        yield running


in_both_stores = pytest.mark.parametrize("server", ["s3", "gs"], indirect=True)


@pytest.fixture
def url(server, request):
    server.failing = server.torn = server.every = 0
    return f"{server.make_bucket(f'm{abs(hash(request.node.name)) % 10**9}')}/run"


def contents(folder: Path):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@in_both_stores
def test_another_machine_goes_on_from_what_was_finished_and_begun(kit, url, tmp_path):
    run = Run(stages=(kit.Count("count", steps=4, stop_at=3, start=kit.Add("base")),))
    kit.story_of_failure(run, Interrupted, store=url)
    other = Kit(tmp_path / "elsewhere")
    story = other.run(Run(stages=(kit.Count("count", steps=4, start=kit.Add("base")),)), store=url)
    assert story.worked() == ["count"] and [report.step for report in story.reports] == [4]
    third = Kit(tmp_path / "third")
    assert third.run(run, store=url).worked() == []
    assert contents(third.out / "artifacts") == contents(other.out / "artifacts")
    assert [name for name in open_store(url).changed("") if name.startswith(("begun", "owners"))] == []


def test_several_stages_at_work_are_each_copied(url, tmp_path):
    mirror = Mirror(url, Story().watcher(), seconds=0.01)
    folders = [tmp_path / name for name in (".left-1.partial", ".right-2.partial")]
    with mirror.open():
        for folder in folders:
            folder.mkdir()
            (folder / "place").write_text(folder.name)
            mirror.follow(folder)
        store = open_store(url)
        while not all(store.read(f"begun/{name}.json") for name in ("left-1", "right-2")):
            time.sleep(0.01)
        folders[0].rename(tmp_path / "left-1")
        mirror.publish(tmp_path / "left-1")
    assert store.read("artifacts/left-1.json") and store.read("begun/right-2.json")
    assert not store.read("begun/left-1.json") and not store.read("artifacts/right-2.json")


def test_a_finished_stage_lies_in_the_store_as_it_does_here(kit, url, tmp_path):
    kit.run(kit.chain(), store=url)
    copy_run_files(url, kit.out)
    store = open_store(url)
    for path, content in contents(kit.out).items():
        assert Path(path).name.startswith(".") or store.read(path) == content


@in_both_stores
def test_a_copy_that_is_not_whole_is_not_used_and_made_anew(kit, url, tmp_path):
    kit.run(kit.chain(), store=url)
    store, (name,) = open_store(url), [path.name for path in (kit.out / "artifacts").glob("zero-*")]
    store.write(f"artifacts/{name}/sum", b"9")
    (base,) = [path.name for path in (kit.out / "artifacts").glob("base-*")]
    store.write(f"artifacts/{base}.json", store.read(f"artifacts/{base}.json")[:-20])
    other = Kit(tmp_path / "elsewhere")
    story = other.run(kit.chain(), store=url)
    assert story.worked() == ["base", "zero"]
    assert any("zero" in told and "sum is not as it was written" in told for told in story.warnings)
    assert any(f"{base}.json is not as it was written" in told for told in story.warnings)
    assert Kit(tmp_path / "third").run(kit.chain(), store=url).worked() == []


def test_what_is_done_anew_replaces_the_copy(kit, url, tmp_path):
    kit.run(kit.chain(), store=url)
    assert Kit(tmp_path / "elsewhere").run(kit.chain(), store=url, again="zero").worked() == ["zero", "exam"]


def test_two_runs_do_not_share_an_address_and_one_that_is_gone_does_not_block_it(url):
    first, second, third = Story(), Story(), Story()
    with Mirror(url, first.watcher(), seconds=1.0).open():
        with pytest.raises(InputError, match=f"{url} is in use by owners/.*; wait until it ends"):
            with Mirror(url, second.watcher(), seconds=1.0).open():
                raise AssertionError("never here")
        assert "waits to see whether owners/" in second.notes[0]
    open_store(url).write("owners/gone.1.a", b"")
    open_store(url).write(f"owners/{socket.gethostname()}.{2**22 + 1}.a", b"")
    with Mirror(url, third.watcher(), seconds=1.0).open():
        assert list(open_store(url).changed("owners")) != ["owners/gone.1.a"]
    assert open_store(url).changed("owners") == {}


@pytest.mark.slow
def test_a_store_that_stays_away_ends_the_run_with_one_line_and_all_of_its_results(
    kit, url, server, monkeypatch, tmp_path
):
    monkeypatch.setattr("reasoning.pipeline.mirror.open_store", lambda url: replace(open_store(url), waits=()))
    real = Mirror.publish

    def publish(mirror, finished):
        real(mirror, finished)
        if finished.name.startswith("exam"):
            server.failing = 10**6

    monkeypatch.setattr(Mirror, "publish", publish)
    kit.story_of_failure(kit.chain(), InputError, "what is here is whole, and its copy is not: ", store=url)
    server.failing = 0
    for mark in open_store(url).changed("owners"):  # It would be waited for: this process lives.
        open_store(url).remove(mark)
    monkeypatch.setattr(Mirror, "publish", real)
    assert kit.run(kit.chain(), store=url).worked() == []
    assert Kit(tmp_path / "elsewhere").run(kit.chain(), store=url).worked() == []


def work_and_save(partial, ended):
    """Adds lines, saves and removes old checkpoints, as a stage in training does."""
    saved, numbers = partial / "checkpoints", random.Random(0)
    saved.mkdir(parents=True)
    with open(partial / "metrics.jsonl", "w", encoding="utf-8") as metrics:
        for step in range(1000):
            metrics.write(json.dumps({"step": step}) + "\n")
            metrics.flush()
            made = saved / f"step_{step:08d}.partial"
            made.mkdir()
            for part in "ab":
                (made / part).write_bytes(numbers.randbytes(50_000))
            files = {part: hash_file(made / part) for part in "ab"}
            (made / "manifest.json").write_text(json.dumps({"step": step, "files": files}))
            made.rename(saved / f"step_{step:08d}")
            for old in sorted(saved.glob("step_????????"))[:-2]:
                shutil.rmtree(old.rename(old.with_name(f".{old.name}.partial")))
            if ended():
                return
            time.sleep(0.01)


@pytest.mark.slow
def test_whatever_moment_was_copied_while_a_stage_worked_is_one_to_go_on_from(url, server, tmp_path):
    """A stage that saves, adds lines and removes old checkpoints, its store failing now and then, looked at often."""
    partial, finished = tmp_path / "here" / ".stage-1.partial", tmp_path / "here" / "stage-1"
    server.every, found = 9, list[Path]()

    story = Story()
    mirror, reader = Mirror(url, story.watcher(), seconds=0.01), Mirror(url, story.watcher(), seconds=0.01)
    reader._store = open_store(url)
    with mirror.open():
        mirror.follow(partial)
        worker = threading.Thread(target=work_and_save, args=(partial, lambda: len(found) >= 8))
        worker.start()
        while worker.is_alive():
            there = tmp_path / str(len(found))
            reader.fetch(there / "stage-1", there / ".stage-1.partial")
            if (there / ".stage-1.partial").exists():
                found.append(there / ".stage-1.partial")
        worker.join()
    last = tmp_path / "last"
    reader.fetch(last / "stage-1", last / ".stage-1.partial")
    assert contents(last / ".stage-1.partial") == contents(partial) and not finished.exists()
    for folder in found:
        newest = max((folder / "checkpoints").iterdir(), default=None)
        if newest is not None:
            manifest = json.loads((newest / "manifest.json").read_text())
            assert manifest["files"] == {part: hash_file(newest / part) for part in "ab"}
            assert (folder / "metrics.jsonl").read_text().count("\n") > manifest["step"]
    print(len(found), [len(list((folder / "checkpoints").iterdir())) for folder in found])


def test_a_file_that_was_copied_is_neither_linked_nor_read_again_when_another_grows(url, tmp_path):
    partial, store = tmp_path / ".stage-1.partial", open_store(url)
    (partial / "checkpoints").mkdir(parents=True)
    saved, metrics = partial / "checkpoints" / "arrays", partial / "metrics.jsonl"
    saved.write_bytes(bytes(1000))
    mirror = Mirror(url, Story().watcher(), seconds=0.05)
    with mirror.open():
        mirror.follow(partial)
        stamps = []
        for line in ("one\n", "one\ntwo\n"):
            metrics.write_text(line)
            wanted = hashlib.sha256(line.encode()).hexdigest()
            while wanted not in (store.read("begun/stage-1.json") or b"").decode():
                time.sleep(0.02)
            stamps.append(saved.stat().st_ctime_ns)
    assert stamps[0] == stamps[1] == saved.stat().st_ctime_ns
