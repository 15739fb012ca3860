import hashlib
import json
import shutil
from pathlib import Path

import pytest

from reasoning.core import artifact
from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError

RECORD = {"kind": "results", "stage": "exam", "hash": "ab12", "results": {"accuracy": 0.5}, "seed": 3}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "artifact.json").write_text(json.dumps(RECORD))
    return tmp_path


def change(folder, **changes):
    (folder / "artifact.json").write_text(json.dumps(RECORD | changes))


def test_reading_gives_the_record_back(folder):
    found = artifact.read_artifact(folder)
    assert found == Artifact(folder, "results", "exam", "ab12", {"accuracy": 0.5})
    assert found.record()["seed"] == 3


def test_a_missing_artifact_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match="no artifact at .*nowhere"):
        artifact.read_artifact(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["{", "[]", "", '{"kind": "results"}', json.dumps(RECORD | {"kind": "cake"})])
def test_a_damaged_record_is_refused(folder, text):
    (folder / "artifact.json").write_text(text)
    with pytest.raises(InputError, match="artifact.json"):
        artifact.read_artifact(folder)


def test_an_unfinished_artifact_is_refused(folder):
    change(folder, kind=None)
    with pytest.raises(InputError, match="unfinished"):
        artifact.read_artifact(folder)


@pytest.mark.parametrize("kind", ["checkpoint", "records"])
def test_an_artifact_without_its_content_is_refused(folder, kind):
    change(folder, kind=kind)
    with pytest.raises(InputError, match=f"lost its {kind}"):
        artifact.read_artifact(folder)
    (folder / kind).mkdir()
    found = artifact.read_artifact(folder)
    assert (found.checkpoint if kind == "checkpoint" else found.records_folder) == folder / kind


def test_rows_survive_line_separators_inside_texts(folder):
    rows = [{"text": "a\u2028b\rc"}, {"text": "d"}]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "samples.jsonl").write_bytes(lines.encode())
    assert artifact.read_artifact(folder).samples() == rows


def test_no_metrics_file_means_no_rows(folder):
    assert artifact.read_artifact(folder).metrics() == []


@pytest.mark.parametrize("line", ["{", "3", '{"a": 1'])
def test_a_damaged_row_is_named_by_file_and_line(folder, line):
    (folder / "metrics.jsonl").write_text('{"step": 1}\n' + line + "\n")
    with pytest.raises(InputError, match=r"metrics\.jsonl:2"):
        artifact.read_artifact(folder).metrics()


@pytest.fixture
def published(folder):
    """An artifact of eight files that its record lists."""
    for number in range(8):
        file = folder / f"{'inner/' if number % 2 else ''}{number}.bin"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(bytes(number + 1))
    (folder / "on_the_way").mkdir()
    (folder / "on_the_way" / "state").write_bytes(b"large")
    change(folder, **artifact.files_under(folder, ("on_the_way",)))
    return folder


@pytest.mark.parametrize("damaged", [{"0.bin"}, {"inner/7.bin"}, {"0.bin", "inner/1.bin", "2.bin", "6.bin"}])
@pytest.mark.parametrize(
    "change", [Path.unlink, lambda file: file.write_bytes(b""), lambda file: file.write_bytes(bytes(99))]
)
def test_files_that_are_gone_or_have_another_size_are_told_by_name(published, damaged, change):
    assert artifact.damage_of(published) == ""
    whole = artifact.read_artifact(published)
    for name in damaged:
        change(published / name)
    told = artifact.damage_of(published)
    assert all(name in told for name in sorted(damaged)[:3])
    assert (told.endswith("; and 1 more")) == (len(damaged) == 4)
    with pytest.raises(InputError, match="damaged results: .*; move the folder away and run stage 'exam' again"):
        artifact.read_artifact(published)
    assert artifact.recorded_artifact(published) == whole


def test_what_nobody_needs_from_here_on_and_what_came_later_may_change(published):
    shutil.rmtree(published / "on_the_way")
    (published / "notes.txt").write_text("mine")
    assert artifact.read_artifact(published).stage == "exam"


def test_a_saved_tree_of_arrays_is_listed_by_its_manifest_alone_since_its_sizes_differ_between_equal_saves(folder):
    for name, size in {"checkpoint/array": 5, "checkpoint/deep/meta": 7, "model.json": 2, "manifest.json": 3}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes(size))
    files = {"array": {"bytes": 5}, "deep/meta": {"bytes": 7}}
    (folder / "checkpoint/manifest.json").write_text(json.dumps({"files": files}))
    listed = artifact.files_under(folder)
    assert listed == {"files": {"checkpoint/manifest.json": None, "model.json": zeros(2), "manifest.json": zeros(3)}}
    change(folder, **listed)
    assert artifact.damage_of(folder) == ""
    (folder / "checkpoint/deep/meta").write_bytes(b"")
    assert "deep/meta has 0 bytes, 7 were written" in artifact.damage_of(folder)
    for content in ("{}", "[", '{"files": {"a": 3}}'):
        (folder / "checkpoint/manifest.json").write_text(content)
        assert artifact.damage_of(folder).endswith("manifest.json is not as it was written")
    (folder / "checkpoint/manifest.json").unlink()
    assert artifact.damage_of(folder).endswith("manifest.json does not exist")


def test_a_record_without_a_list_and_a_folder_without_a_record_say_nothing(folder, tmp_path):
    assert artifact.damage_of(folder) == artifact.damage_of(tmp_path / "elsewhere") == ""
    artifact.write_files(tmp_path, ())
    assert artifact.damage_of(tmp_path) == ""


def zeros(size):
    return {"bytes": size, "sha256": hashlib.sha256(bytes(size)).hexdigest()}


def flip(file, bit):
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["0.bin", "inner/7.bin"])
def test_a_single_flipped_bit_is_told_whatever_the_file(published, name):
    before = artifact.damage_of(published)
    flip(published / name, 3)
    assert before == "" and artifact.damage_of(published).endswith(
        f"{name} has other content than was written (SHA-256 differs)"
    )


def test_who_looks_at_a_large_file_sees_its_size_and_who_uses_it_its_content(folder):
    for name, size in {"large": (1 << 24) + 1, "rows.array_record-00000-of-00001": 9}.items():
        (folder / name).write_bytes(bytes(size))
    change(folder, **artifact.files_under(folder))
    artifact.check_content(folder, "stage exam", "mend it")
    flip(folder / "rows.array_record-00000-of-00001", 1)  # It has checksums of its own.
    artifact.check_content(folder, "stage exam", "mend it")
    flip(folder / "large", 77)
    artifact.check_whole(folder, "results", "mend it")
    with pytest.raises(InputError, match=r"damaged stage exam: .*large has other content .*; mend it"):
        artifact.check_content(folder, "stage exam", "mend it")


@pytest.mark.parametrize(("before", "after"), [('"seed": 3', '"seed": 7'), ('"accuracy": 0.5', '"accuracy": 0.7')])
def test_a_finished_record_tells_of_any_change_but_to_what_it_was_made_under(folder, before, after):
    record = artifact.sealed(RECORD | {"environments": [1]})
    (folder / "artifact.json").write_text(json.dumps(record | {"environments": [2]}))
    assert artifact.read_artifact(folder).stage == "exam"
    (folder / "artifact.json").write_text(json.dumps(record).replace(before, after))
    with pytest.raises(InputError, match=r"artifact\.json is not as it was written"):
        artifact.read_artifact(folder)


def test_records_of_before_which_list_sizes_alone_are_read(folder):
    (folder / "a").write_bytes(b"abc")
    change(folder, files={"a": 3})
    flip(folder / "a", 0)
    assert artifact.damage_of(folder) == ""
    change(folder, files={"a": 4})
    assert artifact.damage_of(folder).endswith("a has 3 bytes, 4 were written")


@pytest.mark.parametrize("files", [3, ["a"], {"a": "b"}, {"a": None}, {"a": {}}, {"a": {"bytes": 1, "sha256": 2}}])
def test_a_list_of_another_shape_is_refused(folder, files):
    change(folder, files=files)
    with pytest.raises(InputError, match=r"artifact.json: 'files' is no list of files and sizes"):
        artifact.read_artifact(folder)


@pytest.mark.parametrize("name", ["x" * 5000, "../../etc/passwd"])
def test_a_name_that_can_be_no_file_of_the_folder_is_missing(folder, name):
    change(folder, files={name: 1})
    assert len(artifact.damage_of(folder)) < 1000
    assert artifact.damage_of(folder).endswith(("does not exist", "bytes, 1 were written"))
