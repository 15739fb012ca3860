import os
import shutil

import pytest
from written_run import write_run

from reasoning.findings.facts import gather
from reasoning.report.write import PAGE, TEXT, write


def written_reports(folder):
    write(folder, gather(folder))
    return [(folder / name).read_bytes() for name in (PAGE, TEXT)]


def test_equal_runs_in_different_places_at_different_times_give_equal_bytes(written, tmp_path):
    one = shutil.copytree(written, tmp_path / "one")
    other = write_run(tmp_path / "elsewhere" / "other")
    for file in other.rglob("*"):
        os.utime(file, (1, 1))
    (next(other.glob("artifacts/zero-*")) / "timings.jsonl").write_text('{"step": 1, "seconds": 9.87654321}\n')
    assert written_reports(one) == written_reports(other)


def test_a_report_is_replaced_as_a_whole_and_leaves_nothing_else(written, tmp_path):
    folder = shutil.copytree(written, tmp_path / "run")
    before = {path.name for path in folder.iterdir()}
    (folder / PAGE).write_text("old")
    written_reports(folder)
    assert {path.name for path in folder.iterdir()} == before | {PAGE, TEXT}
    assert (folder / PAGE).read_text().startswith("<!doctype html>")


def test_no_clock_no_speed_and_no_place_enters(written, tmp_path):
    folder = shutil.copytree(written, tmp_path / "run")
    for content in written_reports(folder):
        text = content.decode()
        assert "123456.789" not in text and str(tmp_path) not in text and os.uname().nodename not in text


def test_a_place_that_cannot_be_written_is_named(facts, tmp_path):
    (tmp_path / PAGE).mkdir()
    with pytest.raises(OSError, match=PAGE):
        write(tmp_path, facts)
