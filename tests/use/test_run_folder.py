"""A run as readers see it: a mapping from its finished stages, wherever its folder lies."""

import json

import pytest

from reasoning.core.errors import InputError
from reasoning.pipeline.folder import Entry, read_run, write_run
from reasoning.use.run_folder import open_run


def make(path, *names):
    for name in names:
        folder = path / "artifacts" / f"{name}-00"
        folder.mkdir(parents=True)
        record = {"kind": "results", "stage": name, "hash": "00", "results": {"sum": 1}}
        (folder / "artifact.json").write_text(json.dumps(record))
    write_run(path, [Entry(name, f"artifacts/{name}-00", "00", True) for name in names])


def test_a_run_is_a_mapping_from_its_finished_stages_in_order(tmp_path):
    make(tmp_path, "zero", "base")
    run = open_run(tmp_path)
    assert list(run) == ["zero", "base"] and len(run) == 2 and "zero" in run and "exam" not in run
    assert run["zero"].results == {"sum": 1}
    assert [artifact.stage for artifact in run.artifacts()] == ["zero", "base"]


def test_a_moved_folder_still_opens(tmp_path):
    make(tmp_path / "a", "base")
    (tmp_path / "a").rename(tmp_path / "b")
    assert open_run(str(tmp_path / "b"))["base"].stage == "base"


def test_an_unfinished_stage_is_named_with_those_that_are_finished(tmp_path):
    make(tmp_path, "base")
    write_run(tmp_path, [*read_run(tmp_path), Entry("zero", "artifacts/zero-00", "00", False)])
    with pytest.raises(InputError, match="no finished stage 'zero'; finished are base"):
        open_run(tmp_path)["zero"]


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a run's folder"):
        open_run(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"stages": [{"stage": "base"}]}', '{"stages": 3}'])
def test_a_damaged_list_of_stages_is_refused_by_file(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError, match=r"run\.json"):
        open_run(tmp_path)


def test_a_sweeps_folder_is_refused_with_where_its_runs_lie(tmp_path):
    (tmp_path / "sweep.gin").write_text("")
    with pytest.raises(InputError, match="is a sweep's folder; open one of its runs, such as .*arms/…/seed-0"):
        open_run(tmp_path)


def test_a_damaged_stage_is_refused_and_the_others_are_not(tmp_path):
    make(tmp_path, "base", "zero")
    file = tmp_path / "artifacts/base-00/artifact.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"files": {"sum": 1}}))
    run = open_run(tmp_path)
    for use in (lambda: run["base"], run.artifacts):
        with pytest.raises(InputError, match="damaged results: .*base-00/sum does not exist; move the folder away"):
            use()
    assert [artifact.stage for artifact in run["zero"].others()] == ["base", "zero"]
