import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors_folder import framed, header_and_data, write_file, write_index

from reasoning.core.errors import InputError
from reasoning.models.formats.safetensors import opened, read_folder, read_header, read_rows

A = np.arange(12, dtype=np.float32).reshape(4, 3)
B = np.full((2, 2), 0.5, np.float16)


def write_raw(folder, entries, data):
    (folder / "model.safetensors").write_bytes(
        framed(entries if isinstance(entries, str) else json.dumps(entries), data)
    )


def refused(folder, *words):
    with pytest.raises(InputError) as caught:
        read_folder(folder)
    for word in words:
        assert word in str(caught.value)


def test_tensors_are_found_with_dtype_and_shape_and_read_by_rows(tmp_path):
    write_file(tmp_path / "model.safetensors", {"a": A, "b": B})
    found = read_folder(tmp_path)
    assert {name: (str(one.dtype), one.shape) for name, one in found.items()} == {
        "a": ("float32", (4, 3)),
        "b": ("float16", (2, 2)),
    }
    buffer = np.empty(64, np.uint8)
    with opened(tmp_path / "model.safetensors") as descriptor:
        np.testing.assert_array_equal(read_rows(descriptor, found["a"], range(1, 3), buffer), A[1:3])
        np.testing.assert_array_equal(read_rows(descriptor, found["b"], range(0, 2), buffer), B)


def test_several_files_are_read_by_their_index(tmp_path):
    write_file(tmp_path / "x.safetensors", {"a": A})
    write_file(tmp_path / "y.safetensors", {"b": B})
    write_index(tmp_path, {"a": "x.safetensors", "b": "y.safetensors"})
    assert {name: one.path.name for name, one in read_folder(tmp_path).items()} == {
        "a": "x.safetensors",
        "b": "y.safetensors",
    }


@pytest.mark.parametrize("cut", [1, 24])
def test_a_file_that_was_cut_off_is_refused(tmp_path, cut):
    write_file(tmp_path / "model.safetensors", {"a": A})
    path = tmp_path / "model.safetensors"
    os.truncate(path, path.stat().st_size - cut)
    refused(tmp_path, "model.safetensors", "cut off")


@pytest.mark.parametrize("content", [b"", b"\x10\0\0", b"\xff" * 8 + b"{}", b"\xff\0\0\0\0\0\0\0{}"])
def test_a_header_that_cannot_be_is_refused(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    refused(tmp_path, "cut off or no safetensors file")


def test_bytes_that_belong_to_no_tensor_are_refused(tmp_path):
    entries, data = header_and_data({"a": A})
    write_raw(tmp_path, entries, data + b"more")
    refused(tmp_path, "belong to no tensor")


def test_overlapping_tensors_are_refused(tmp_path):
    entries, data = header_and_data({"a": A, "b": A})
    entries["b"]["data_offsets"] = entries["a"]["data_offsets"]
    write_raw(tmp_path, entries, data)
    refused(tmp_path, "b begins at byte")


def test_a_name_that_occurs_twice_in_a_header_is_named(tmp_path):
    entries, data = header_and_data({"a": A, "b": A})
    write_raw(tmp_path, json.dumps(entries).replace('"b"', '"a"'), data)
    refused(tmp_path, "a occur more than once")


@pytest.mark.parametrize("name", ["\x1b[2J", "a b", "", "\u202ea", "\ud800", "a" * 501])
def test_a_name_that_could_harm_a_terminal_is_refused_and_shown_escaped(tmp_path, name):
    entries, data = header_and_data({name: A})
    write_raw(tmp_path, entries, data)
    with pytest.raises(InputError, match="not plain text") as caught:
        read_folder(tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"dtype": "F64"}, "dtype F64"),
        ({"dtype": "F8_E5M2"}, "F8_E4M3"),
        ({"shape": [4, 4]}, "not 48 bytes"),
        ({"shape": [-4, -3]}, "no whole numbers"),
        ({"shape": [4.0, 3]}, "no whole numbers"),
        ({"data_offsets": [0, 48, 96]}, "no whole numbers"),
        ({"extra": 1}, "not dtype, shape and data_offsets"),
    ],
)
def test_an_entry_that_does_not_hold_together_is_refused(tmp_path, change, word):
    entries, data = header_and_data({"a": A})
    entries["a"] |= change
    write_raw(tmp_path, entries, data)
    refused(tmp_path, "a ", word)


def test_pickles_are_refused_by_name(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02")
    refused(tmp_path, "pytorch_model.bin", "runs whatever code")


def test_shards_without_an_index_are_refused(tmp_path):
    for name in ("x", "y"):
        write_file(tmp_path / f"{name}.safetensors", {name: A})
    refused(tmp_path, "x.safetensors, y.safetensors", "index.json")


@pytest.mark.parametrize("file", ["../x.safetensors", "/etc/passwd", "sub/x.safetensors", "x.bin", "..safetensors"])
def test_paths_out_of_the_folder_are_not_opened(tmp_path, file):
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    for place in (tmp_path, folder / "sub"):
        write_file(place / "x.safetensors", {"a": A})
    write_index(folder, {"a": file})
    refused(folder, "not the name of a safetensors file")


def test_a_link_out_of_the_folder_is_refused_and_one_into_the_hubs_cache_is_not(tmp_path, monkeypatch):
    write_file(tmp_path / "elsewhere", {"a": A})
    snapshot, blobs = tmp_path / "hub" / "snapshots" / "abc", tmp_path / "hub" / "blobs"
    for folder in (snapshot, blobs, tmp_path / "model"):
        folder.mkdir(parents=True)
    write_file(blobs / "1234", {"a": A})
    (tmp_path / "model" / "model.safetensors").symlink_to(tmp_path / "elsewhere")
    (snapshot / "model.safetensors").symlink_to(blobs / "1234")
    refused(tmp_path / "model", "link out of its folder")
    (tmp_path / "named").symlink_to(snapshot)
    monkeypatch.chdir(snapshot)
    for folder in (snapshot, tmp_path / "named", Path(), Path("../abc")):
        assert set(read_folder(folder)) == {"a"}


def test_an_index_that_disagrees_with_its_files_lists_what_is_wrong(tmp_path):
    write_file(tmp_path / "x.safetensors", {"a": A, "twice": A})
    write_file(tmp_path / "y.safetensors", {"twice": B, "unlisted": B})
    write_index(tmp_path, {"a": "x.safetensors", "twice": "x.safetensors", "gone": "y.safetensors"})
    refused(tmp_path, "gone are in no file", "twice are in more than one file", "unlisted are in a file but not in")


def test_a_file_of_the_index_that_is_missing_is_named(tmp_path):
    write_index(tmp_path, {"a": "x.safetensors"})
    refused(tmp_path, "x.safetensors is missing")


def test_a_file_that_shrinks_while_it_is_read_is_noticed(tmp_path):
    path = tmp_path / "model.safetensors"
    write_file(path, {"a": A})
    stored = read_header(path)["a"]
    os.truncate(path, path.stat().st_size - 4)
    with opened(path) as descriptor, pytest.raises(InputError, match="ended while it was read"):
        read_rows(descriptor, stored, range(4), np.empty(64, np.uint8))


def test_the_one_file_goes_before_an_old_index_whose_files_are_gone(tmp_path):
    """As in transformers, which looks for the one file first."""
    write_file(tmp_path / "model.safetensors", {"a": A})
    write_index(tmp_path, {"b": "model-00001-of-00002.safetensors", "c": "model-00002-of-00002.safetensors"})
    assert set(read_folder(tmp_path)) == {"a"}
    write_index(tmp_path, {"a": "model.safetensors"})
    assert set(read_folder(tmp_path)) == {"a"}


def test_two_models_in_one_folder_are_refused_by_their_names(tmp_path):
    write_file(tmp_path / "model.safetensors", {"a": A})
    write_file(tmp_path / "model-00001-of-00001.safetensors", {"a": A + 1})
    write_index(tmp_path, {"a": "model-00001-of-00001.safetensors"})
    refused(tmp_path, "model.safetensors and also model-00001-of-00001.safetensors", "two models in one folder")


def test_files_and_an_index_that_other_tools_name_are_read(tmp_path):
    files = {"a": "weights.00.safetensors", "b": "shard 2 (of=2).safetensors"}
    for name, file in files.items():
        write_file(tmp_path / file, {name: A})
    write_index(tmp_path, files)
    (tmp_path / "model.safetensors.index.json").rename(tmp_path / "weights.safetensors.index.json")
    assert set(read_folder(tmp_path)) == {"a", "b"}
