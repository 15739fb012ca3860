"""The files of a run's folder: which artifacts it has, earlier configurations, and what was set aside."""

import json

import pytest

from reasoning.core.errors import InputError
from reasoning.core.files import write_json
from reasoning.core.sealed import sealed_text
from reasoning.pipeline.folder import (
    Entry,
    finished_folder,
    read_run,
    set_aside,
    unfinished_folder,
    write_keeping_earlier,
    write_run,
)


def test_the_stages_of_a_run_are_read_back_in_order(tmp_path):
    assert read_run(tmp_path) == ()
    entries = (Entry("zero", "artifacts/zero-00", "00", True), Entry("base", "artifacts/base-00", "01", False))
    write_run(tmp_path, entries)
    assert read_run(tmp_path) == entries


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [("stage", 3, "a text"), ("folder", None, "a text"), ("hash", [], "a text"), ("finished", "yes", "true or false")],
)
def test_a_value_of_another_type_is_named_by_file_and_key(tmp_path, key, value, wanted):
    write_run(tmp_path, (Entry("base", "artifacts/base-00", "01", False),))
    content = json.loads((tmp_path / "run.json").read_text())
    del content["sha256"]  # As earlier versions wrote it, or somebody's own program.
    content["stages"][0][key] = value
    (tmp_path / "run.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"run\.json: stages\[0\]\.{key} must be {wanted}, not"):
        read_run(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"stages": [{"stage": "base"}]}', '{"stages": 3}'])
def test_a_damaged_list_of_stages_is_refused_by_file(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError, match=r"run\.json"):
        read_run(tmp_path)


def test_resolved_texts_are_never_overwritten(tmp_path):
    told = []
    for text in ("a\n", "a\n", "b\n", "c\n", "c\n"):
        write_keeping_earlier(tmp_path, text, told.append)
    texts = {path.name: path.read_text() for path in tmp_path.iterdir()}
    expected = {"resolved.gin": "c\n", "resolved.1.gin": "a\n", "resolved.2.gin": "b\n"}
    assert texts == {name: sealed_text(text) for name, text in expected.items()} and told == []


def test_what_has_rotted_is_told_and_not_taken_for_what_was_written(tmp_path):
    write_run(tmp_path, (Entry("base", "artifacts/base-00", "01", False),))
    run = tmp_path / "run.json"
    run.write_text(run.read_text().replace("false", "true"))
    with pytest.raises(InputError, match=r"run\.json is not as it was written: .*; remove it and run the experiment"):
        read_run(tmp_path)
    told = []
    write_keeping_earlier(tmp_path, "rate = 0.1\n", told.append)
    (tmp_path / "resolved.gin").write_text((tmp_path / "resolved.gin").read_text().replace("0.1", "0.3"))
    write_keeping_earlier(tmp_path, "rate = 0.1\n", told.append)
    assert len(told) == 1 and "damaged" in told[0] and "resolved.gin is not as it was written" in told[0]
    assert (tmp_path / "resolved.gin").read_text() == sealed_text("rate = 0.1\n")


def test_setting_aside_keeps_every_generation(tmp_path):
    folder = finished_folder(tmp_path, "base", "0123456789abcdef")
    assert folder.name == "base-0123456789ab" and set_aside(folder) is None
    for generation in ("1", "2"):
        folder.mkdir()
        (folder / "sum").write_text(generation)
        set_aside(folder)
    kept = {path.name: (path / "sum").read_text() for path in (tmp_path / "earlier").iterdir()}
    assert kept == {"base-0123456789ab.1": "1", "base-0123456789ab.2": "2"}


@pytest.mark.parametrize("key", ["stage", "folder", "hash"])
def test_an_entry_too_long_for_a_file_system_is_refused(tmp_path, key):
    entry = {"stage": "base", "folder": "artifacts/base-00", "hash": "00", "finished": True} | {key: "9" * 5000}
    write_json(tmp_path / "run.json", {"stages": [entry]})
    with pytest.raises(InputError, match=rf"run\.json: stages\[0\]\.{key} is '9{{50,60}}…, too long"):
        read_run(tmp_path)


def test_the_longest_entries_that_are_taken_are_names_that_can_be_looked_for(tmp_path):
    longest = Entry("s" * 233, "/".join(["f" * 255] * 7), "0" * 233, finished=False)
    write_run(tmp_path, [longest])
    assert read_run(tmp_path) == (longest,)
    assert not unfinished_folder((tmp_path / longest.folder).parent, longest.stage, longest.hash).exists()
