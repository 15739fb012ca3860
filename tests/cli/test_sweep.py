import os
import shutil
import signal
import socket

import pytest

from reasoning.cli.distributed import process_environment
from reasoning.cli.main import main
from reasoning.core.files import lock
from tests.support.small_sweep import SweepProject

EACH = "sweep.each = {'zero.rate': (0.5, 0.9), 'width': (2,)}\nsweep.seeds = 2\nsweep.scores = ('zero/loss',)\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")
    project = SweepProject(tmp_path)
    project.write(EACH)
    return project


def test_a_sweep_ends_with_its_table_on_the_terminal_and_in_two_files(project, capsys):
    assert main(project.arguments()) == 0
    printed = capsys.readouterr()
    assert "width=2, seed 1: run 6 of 6" in printed.out and "zero.rate=0.9" in printed.out and printed.err == ""
    assert "can't tell" in printed.out and "table.md and table.csv" in printed.out
    assert "one setting at a time against the file's own" in project.tables()["table.md"].decode()


def test_the_same_command_again_runs_nothing_and_leaves_the_same_bytes(project, capsys):
    assert main(project.arguments()) == 0
    before = project.tables()
    project.ran()
    assert main(project.arguments()) == 0
    assert project.ran() == [] and project.tables() == before


def test_another_folder_gives_the_same_bytes(project, capsys, tmp_path):
    assert main(project.arguments()) == 0
    before = project.tables()
    project.out = tmp_path / "elsewhere"
    assert main(project.arguments()) == 0
    assert project.tables() == before


# The stage that the kill comes in: the shared corpus, a base, an arm's own stages in the first and last run.
@pytest.mark.parametrize("stage", [1, 3, 7, 14])
@pytest.mark.slow
def test_kill_9_at_any_stage_and_the_same_command_gives_the_same_table(project, capsys, stage):
    assert main(project.arguments()) == 0
    whole = project.tables()
    assert len(project.ran()) == 15
    shutil.rmtree(project.out)
    project.trap.write_text(f"{stage} SIGKILL")
    killed = project.start()
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL and len(project.ran()) == stage
    assert main(project.arguments()) == 0
    # What was killed runs again, what was finished doesn't.
    assert len(project.ran()) == 15 - (stage - 1)
    assert project.tables() == whole


@pytest.mark.slow
def test_two_processes_share_a_sweep_and_only_the_first_speaks_and_writes(project, capsys):
    assert main(project.arguments()) == 0
    whole = project.tables()
    shutil.rmtree(project.out)
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        coordinator = f"localhost:{probe.getsockname()[1]}"
    processes = [project.start(**process_environment(coordinator, 2, rank)) for rank in range(2)]
    outputs, errors = zip(*(process.communicate() for process in processes), strict=True)
    assert [process.returncode for process in processes] == [0, 0], "\n====\n".join(errors)
    assert "run 6 of 6" in outputs[0] and "can't tell" in outputs[0]
    assert "finished" not in outputs[1] and "table" not in outputs[1]
    assert project.tables() == whole


@pytest.mark.slow
def test_a_termination_exits_with_143_and_the_table_so_far_is_there(project):
    project.trap.write_text("12 SIGTERM")
    process = project.start()
    _, error = process.communicate()
    assert process.returncode == 143 and "SIGTERM" in error and "Traceback" not in error
    assert b"not finished for seed 1" in project.tables()["table.md"]


def test_a_failed_run_gives_status_1_and_is_in_the_table(project, capsys):
    assert main(project.arguments("zero.bad_rate=0.9")) == 1
    printed = capsys.readouterr()
    assert "this run failed, the others go on" in printed.err and "were not finite" in printed.err
    assert "zero.rate=0.9, seed 1: failed: stage zero" in " ".join(printed.out.split())
    assert b"Failed runs are left out" in project.tables()["table.md"]


def test_check_shows_arms_seeds_and_sharing_and_runs_nothing(project, capsys):
    assert main(project.arguments("--check", "run.seed=3")) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "baseline (zero.rate=0.5)" in printed and "arms/width=2" in printed
    assert "arms: 3, seeds: 3, 4, runs: 6" in printed and "corpus 6 1, shared 0" in printed and "zero 6 6 0" in printed
    assert "15 stage runs in all; without sharing it would be 24" in printed
    assert not project.out.exists() and project.ran() == []


def test_a_long_reading_of_what_stages_read_is_announced(project, capsys, monkeypatch):
    monkeypatch.setattr("reasoning.core.contents._TOLD_BYTES", 1)
    told = f"at {project.file} once"
    reading = f"corpus.path='{project.file}'"
    assert main(project.arguments("--check", reading)) == 0
    assert told in capsys.readouterr().out
    assert main(project.arguments("sweep.seeds=1", reading)) == 0
    assert told in capsys.readouterr().out


def test_only_table_writes_the_table_of_what_is_finished_and_runs_nothing(project, capsys):
    assert main(project.arguments("sweep.seeds=1")) == 0
    capsys.readouterr()
    project.ran()
    assert main(project.arguments("--only-table")) == 0
    assert "not finished for seed 1" in capsys.readouterr().out and project.ran() == []
    assert (project.out / "table.1.md").exists()
    with lock(project.out):
        assert main(project.arguments("--only-table")) == 2
    assert f"in use by process {os.getpid()}" in capsys.readouterr().err


def test_only_table_of_other_settings_takes_nothing_for_theirs(project, capsys):
    assert main(project.arguments()) == 0
    capsys.readouterr()
    assert main(project.arguments("--only-table", "base.rate=0.7")) == 0
    assert "No run has finished" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["sweep.each={'zero.raet': (1.0,)}"], "did you mean 'rate'"),
        (["sweep.scores=('zreo/loss',)"], "did you mean 'zero'"),
        (["sweep.grid={'zero.rate': (1.0,)}"], "exclude each other"),
        (["--only-table"], "there is no folder"),
    ],
)
def test_bad_input_is_one_message_and_status_2_before_anything_runs(project, capsys, more, complaint):
    assert main(project.arguments(*more)) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ") and complaint in printed.err and "Traceback" not in printed.err
    assert not project.out.exists()


def test_a_score_that_turns_out_to_be_unknown_stops_after_the_first_run(project, capsys):
    assert main(project.arguments("sweep.scores=('zero/lsos',)")) == 2
    assert "no finished run has the score 'zero/lsos'" in capsys.readouterr().err
    assert project.ran() == ["corpus 0", "base 0", "zero 0", "exam 0"]
    assert main(project.arguments()) == 0 and len(project.ran()) == 11
