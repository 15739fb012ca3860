"""Stages that don't need each other are done at the same time, end as they would one by one, and stop as tidily."""

import errno
import os
import signal
import threading
import time

import jax
import pytest

from reasoning.core.errors import InputError
from reasoning.training.preemption import Interrupted
from reasoning.use.run_folder import open_run
from tests.support.two_sides import TwoSides


@pytest.fixture
def project(tmp_path):
    return TwoSides(tmp_path)


def test_stages_that_do_not_need_each_other_are_done_at_the_same_time_with_the_results_of_one_by_one(project):
    project.tell(left="meet right", right="meet left")
    found = project.run()
    assert list(found) == ["base", "left", "right", "both"]
    assert {name: artifact.results["sum"] for name, artifact in found.items()} == {
        "base": 1,
        "left": 2,
        "right": 3,
        "both": 6,
    }
    assert {report.stage for report in project.reports} == set(found) and not project.warnings
    assert [note for note in project.notes if note.endswith("starts")] == [f"{name}: starts" for name in found]
    for order in project.told.iterdir():
        order.unlink()
    project.run("alone", jobs=1)
    assert project.files("out") == project.files("alone")
    project.run()
    assert project.notes[1:] == [f"{name}: already finished" for name in found]


def test_a_failure_has_the_others_save_and_leave_and_the_same_command_goes_on(project):
    project.tell(left="count 1000", right="fail left")
    with pytest.raises(InputError, match="right can't be done") as caught:
        project.run()
    assert any("stage right stopped; its folder" in note for note in caught.value.__notes__)
    assert list(open_run(project.out)) == ["base"]
    [place] = project.out.glob("artifacts/.left*/place")
    assert 0 < int(place.read_text()) < 1000
    project.tell(left="count 1", right="count 1")
    assert project.run()["both"].results["sum"] == 6
    assert {"left: goes on from where it was cut off", "base: already finished"} <= set(project.notes)


def test_errors_are_those_of_one_by_one(project):
    project.tell(base="raise RuntimeError")
    with pytest.raises(InputError, match=r"Work.obey raised RuntimeError: so \(side_by_side_\d+.py:\d+ in obey: raise"):
        project.run()
    project.tell(base="raise OSError")
    with pytest.raises(OSError, match="No space left") as caught:
        project.run()
    assert caught.value.errno == errno.ENOSPC and "Traceback" in caught.value.__notes__[-1]


def test_a_signal_has_all_save_and_leave(project):
    project.tell(left="count 1000", right="count 1000")

    def send() -> None:
        while not all((project.told / f"{name}.counts").exists() for name in ("left", "right")):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=send, daemon=True).start()
    with pytest.raises(Interrupted) as caught:
        project.run()
    assert caught.value.exit_code == 143 and list(open_run(project.out)) == ["base"]
    assert len(list(project.out.glob("artifacts/.*/place"))) == 2
    project.tell(left="count 1", right="count 1")
    assert project.run()["both"].results["sum"] == 6


@pytest.mark.parametrize(("jobs", "backend", "told"), [(0, "cpu", "1 or more"), (2, "tpu", "on the CPU of one host")])
def test_no_number_of_processes_and_accelerators_are_refused(project, monkeypatch, jobs, backend, told):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    with pytest.raises(InputError, match=told):
        project.run(jobs=jobs)
    assert not project.out.exists()
