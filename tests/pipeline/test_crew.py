"""Processes that do stages: how each of their ends is told, and that none outlives whoever gives it work."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from multiprocessing import forkserver

import forked
import jax
import pytest

from reasoning.core.errors import InputError
from reasoning.core.files import lock
from reasoning.pipeline.crew import Crew, Handed
from reasoning.pipeline.run import Run, RunOptions
from reasoning.pipeline.run_experiment import run_experiment
from reasoning.training.preemption import Interrupted
from reasoning.training.profiling import Profile
from tests.support.two_sides import Artless, TwoSides


class InSession(Artless):
    """A stage that somebody wrote in a notebook."""


@pytest.fixture
def project(tmp_path):
    return TwoSides(tmp_path)


def test_a_process_that_is_killed_is_told_by_its_stage_and_nothing_is_lost(project):
    project.tell(left="die SIGKILL", right="count 5")
    with pytest.raises(InputError, match=r"stage left: its process was killed by SIGKILL \(out of memory\?.*--jobs"):
        project.run()
    with lock(project.out):
        pass  # nobody is left who holds it
    project.tell(left="count 1")
    assert project.run()["both"].results["sum"] == 6


def test_a_process_that_is_killed_while_it_has_nothing_to_do_is_replaced(project):
    project.tell(base="alone now", left="meet right", right="meet left")
    assert project.run()["both"].results["sum"] == 6


def test_a_stage_whose_process_is_killed_before_it_began_is_done_by_another(project):
    project.doom(signal.SIGKILL, 2)
    assert project.run()["both"].results["sum"] == 6
    assert project.warnings == ["base: its process was killed by SIGKILL before it began; another one does it"] * 2
    assert project.notes.count("base: starts") == 1


def test_a_stage_that_no_process_begins_fails(project):
    project.doom(signal.SIGKILL, 3)
    with pytest.raises(InputError, match=r"stage base: its process was killed by SIGKILL .*the same command goes on"):
        project.run()
    assert len(project.warnings) == 2
    assert project.run()["both"].results["sum"] == 6


def test_where_all_are_asked_to_stop_no_stage_is_given_to_another(project, monkeypatch):
    project.doom(signal.SIGTERM, 1)
    hear = Crew.hear

    def asked_meanwhile(crew: Crew, *waiting):
        crew.ask_to_stop()
        return hear(crew, *waiting)

    monkeypatch.setattr(Crew, "hear", asked_meanwhile)
    with pytest.raises(Interrupted):
        project.run()
    assert not (project.told / "base.began").exists() and not project.warnings


def test_where_what_starts_the_processes_is_killed_it_is_started_again(project):
    project.tell(base="die SIGKILL")
    with pytest.raises(InputError, match="stage base"):
        project.run()
    (project.told / "base").unlink()
    starter = forkserver._forkserver._forkserver_pid
    os.kill(starter, signal.SIGSTOP)  # It is asked for a process, and doesn't answer any more.
    threading.Timer(1, os.kill, (starter, signal.SIGKILL)).start()
    assert project.run()["both"].results["sum"] == 6


def test_a_runs_text_that_changes_while_it_is_at_work_is_not_read(project):
    project.tell(base="damage it")
    with pytest.raises(InputError, match=r"resolved.gin was changed while its run was at work; run the same command"):
        project.run()
    (project.told / "base").unlink()
    assert project.run()["both"].results["sum"] == 6


def test_where_the_command_is_killed_its_processes_end_too_and_hold_the_folder_until_then(project):
    project.tell(left="count 5000", right="count 5000")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    words = ["reasoning", "run", str(project.file), "--out", str(project.out), "--jobs", "2"]
    command = forked.start(words, environment | {"JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": ""})
    while not all((project.told / f"{name}.counts").exists() for name in ("left", "right")):
        assert command.returncode is None
        time.sleep(0.01)
    command.kill()
    command.wait(60)
    while True:
        with suppress(InputError), lock(project.out):
            counts = [int(place.read_text()) for place in project.out.glob("artifacts/.*/place")]
            break
        time.sleep(0.01)
    time.sleep(0.2)
    assert [int(place.read_text()) for place in project.out.glob("artifacts/.*/place")] == counts and len(counts) == 2
    project.tell(left="count 1", right="count 1")
    assert project.run()["both"].results["sum"] == 6


def test_a_stage_whose_process_alone_is_asked_to_stop_ends_the_run_as_a_signal_does(project):
    project.tell(left="die SIGTERM")
    with pytest.raises(Interrupted) as caught:
        project.run()
    assert caught.value.signal == signal.SIGTERM


def test_a_run_without_a_file_is_handed_over_itself_where_it_can_be(project, tmp_path, monkeypatch):
    stages = (Artless("one"), Artless("other"))
    run = Run(stages=stages, cpu_devices=jax.device_count())
    found = run_experiment(run, tmp_path / "plain", project.watcher(), RunOptions(jobs=2))
    assert os.getpid() not in {artifact.results["process"] for artifact in found.values()}
    monkeypatch.setattr(sys.modules["__main__"], "InSession", InSession, raising=False)
    monkeypatch.setattr(InSession, "__module__", "__main__")
    for kind in (type("Local", (Artless,), {}), InSession):
        with pytest.raises(InputError, match="can't be handed to other processes.*write it as a file"):
            Handed(tmp_path, tmp_path, {}, {}, Profile(), run=replace(run, stages=(kind("one"),)))


SCRIPT = """
import sys
from tests.support.two_sides import Artless
import reasoning as r
from reasoning.pipeline.crew import Handed
from reasoning.pipeline.run import Run
print("once")
run = r.run(Run(stages=(Artless("one"), Artless("other"))), out=sys.argv[1], jobs=2)
print(list(run))
"""


def test_a_script_needs_no_guard(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    words = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "out")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    environment |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("once") == 1 and done.stdout.splitlines()[-1] == "['one', 'other']"
