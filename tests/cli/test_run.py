import json
import re
import signal
import socket
import time
from pathlib import Path

import jax
import pytest
from plans import plan_of

from reasoning.cli.distributed import process_environment
from reasoning.cli.main import main
from reasoning.planning.record import plan_record
from reasoning.use.run_folder import open_run


def test_a_run_ends_with_its_report_and_the_next_one_skips_everything(project, capsys):
    assert main(project.arguments) == 0
    printed = capsys.readouterr()
    assert "0.25" in printed.out and "base says 2" in printed.out and "zero says 2" in printed.out
    assert f"results are in {project.out}" in printed.out
    assert f"the whole report is in {project.out / 'report.html'}" in printed.out
    before = [(project.out / name).read_bytes() for name in ("report.html", "report.md")]
    assert list(open_run(project.out)) == ["base", "zero", "exam"]
    assert main(project.arguments) == 0
    printed = capsys.readouterr()
    assert "begins at" not in printed.out and printed.out.count("already finished") == 3 and printed.err == ""
    assert [(project.out / name).read_bytes() for name in ("report.html", "report.md")] == before


def test_a_report_that_fails_is_a_warning_and_the_run_has_succeeded(project, capsys):
    (project.out / "report.html").mkdir(parents=True)
    assert main(project.arguments) == 0
    printed = capsys.readouterr()
    assert "its report failed (IsADirectoryError" in printed.err and f"reasoning report {project.out}" in printed.err
    assert f"results are in {project.out}" in printed.out and "the whole report" not in printed.out


def test_the_resolved_file_next_to_the_results_repeats_the_run(project, capsys):
    assert main([*project.arguments, "zero.steps=3"]) == 0
    capsys.readouterr()
    again = ["run", str(project.out / "resolved.gin"), "--out", str(project.out)]
    assert main(again) == 0
    printed = capsys.readouterr()
    assert printed.out.count("already finished") == 3 and printed.err == ""


def test_overrides_may_stand_on_either_side_of_options(project, capsys):
    assert main(["run", str(project.file), "base.steps=1", "--out", str(project.out), "zero.steps=2"]) == 0
    run = open_run(project.out)
    assert (run["base"].results, run["zero"].results) == ({"steps": 1}, {"steps": 2})


def test_a_changed_setting_is_announced_on_stderr_with_the_stages_that_run_anew(project, capsys):
    assert main(project.arguments) == 0
    capsys.readouterr()
    assert main([*project.arguments, "zero.steps=3"]) == 0
    printed = capsys.readouterr()
    assert "zero: steps 6 -> 3" in printed.err and "exam: made from base, zero" in printed.err
    assert "base: already finished" in printed.out


def test_check_shows_stages_and_sizes_and_runs_nothing(project, capsys):
    assert main([*project.arguments, "--check", "run.seed=3"]) == 0
    printed = capsys.readouterr().out
    assert "118,000" in printed and "to do" in printed and "begins at" not in printed
    assert not project.out.exists()


def test_the_published_setting_of_r1_zero_is_one_that_can_be_run(capsys, tmp_path):
    file = Path(__file__).parents[2] / "experiments" / "r1_zero_published.gin"
    assert main(["run", str(file), "--out", str(tmp_path / "out"), "run.cpu_devices=8", "--check"]) == 0
    assert "5,324,800" in capsys.readouterr().out  # completions: 10,400 optimizer steps of 512


def test_only_and_from_choose_stages(project, capsys):
    assert main([*project.arguments, "--only", "base"]) == 0
    assert project.artifacts() == ["base"]
    assert main([*project.arguments, "--only", "exam"]) == 2
    assert "made from zero" in capsys.readouterr().err
    assert main(project.arguments) == 0
    capsys.readouterr()
    assert main([*project.arguments, "--from", "zero"]) == 0
    assert capsys.readouterr().out.count("begins at 0") == 1


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["zero.stpes=3"], "steps"),
        (["run.seed=x"], "seed"),
        (["--only", "zer"], "did you mean 'zero'"),
        (["run.mesh.data=3"], "run.mesh.data"),
        (["run.cpu_devices=3"], "run.cpu_devices = 3"),
    ],
)
def test_bad_input_is_one_message_and_status_2(project, capsys, more, complaint):
    assert main([*project.arguments, *more]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ") and complaint in printed.err and "Traceback" not in printed.err
    assert not project.out.exists()


def test_a_run_that_is_not_a_run_is_refused_with_its_line(project, capsys):
    project.file.write_text(
        project.file.read_text().replace("@pipeline.Run", "@core.mesh.MeshShape").split("run.stages")[0]
    )
    assert main(project.arguments) == 2
    assert "count.gin:2" in capsys.readouterr().err


@pytest.mark.slow
def test_kill_9_between_and_within_stages_loses_nothing_that_was_saved(project):
    project.trap.write_text("SIGKILL")
    process = project.start()
    out, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL and "base: finished" in out
    assert project.artifacts() == [".zero", "base"]
    project.trap.unlink()
    process = project.start()
    out, error = process.communicate()
    assert process.returncode == 0, error
    assert "base: already finished" in out and "begins at 2" in out and "begins at 0" not in out
    assert project.artifacts() == ["base", "exam", "zero"]


@pytest.mark.slow
def test_a_termination_saves_and_exits_with_143_while_a_second_process_is_kept_out(project):
    project.trap.write_text("wait")
    first = project.start()
    waiting = project.trap.with_name("trap.waiting")
    while not waiting.exists():
        assert first.poll() is None
        time.sleep(0.02)
    second = project.start()
    _, error = second.communicate()
    assert second.returncode == 2 and error.startswith("error: ") and f"in use by process {first.pid}" in error
    first.terminate()
    project.trap.unlink()
    _, error = first.communicate()
    assert first.returncode == 143 and "SIGTERM" in error and "Traceback" not in error
    assert project.artifacts() == [".zero", "base"]


def test_an_error_in_a_users_stage_is_told_with_its_frames_and_where_the_work_stays(project):
    project.trap.write_text("raise")
    process = project.start()
    _, error = process.communicate()
    assert process.returncode == 2
    assert re.search(r"raised RuntimeError: fell into the trap \(counting_\d+.py:\d+ in ", error)
    assert "stage zero stopped; its folder" in error and "Traceback" not in error


@pytest.mark.slow
def test_two_processes_share_the_cpu_devices_and_only_the_first_speaks(project):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        coordinator = f"localhost:{probe.getsockname()[1]}"
    processes = [project.start(**process_environment(coordinator, 2, rank)) for rank in range(2)]
    outputs, errors = zip(*(process.communicate() for process in processes), strict=True)
    assert [process.returncode for process in processes] == [0, 0], "\n====\n".join(errors)
    assert "exam: finished" in outputs[0] and "results are in" in outputs[0]
    assert "finished" not in outputs[1] and "results" not in outputs[1]
    device = open_run(project.out)["exam"].record()["environments"][-1]["device"]
    assert (device["count"], device["processes"]) == (jax.device_count(), 2)


def test_a_run_held_against_a_plan_refuses_other_devices_and_another_mesh_and_files_that_are_no_plan(
    project, tmp_path, capsys
):
    plan, mesh = tmp_path / "plan.json", {"data": 3, "fsdp": 1, "context": 1, "tensor": 1, "expert": 1}
    here = plan_record(plan_of(4.0), 0.0) | {"device": "cpu", "mesh": mesh}
    for written, option, told in (
        (here, ("--on", "v5e-4"), "--on v5e-4 means 4 devices of v5e"),
        (here, ("--on", "v5e-17"), "there is no TPU topology 'v5e-17'"),
        (here, ("--plan", str(plan)), "and the plan is for data 3"),
        (here | {"device": "TPU v5 lite"}, ("--plan", str(plan)), "the plan is for 2 chips (TPU v5 lite)"),
        ({}, ("--plan", str(plan)), "is no plan; write one by"),
    ):
        plan.write_text(json.dumps(written))
        assert main([*project.arguments, *option]) == 2
        assert told in capsys.readouterr().err
    assert not project.out.exists()


def test_a_run_on_the_mesh_that_was_planned_keeps_its_plan_beside_the_results(project, tmp_path, capsys):
    plan = tmp_path / "plan.json"
    mesh = dict.fromkeys(("data", "fsdp", "context", "tensor", "expert"), 1) | {"data": len(jax.devices())}
    plan.write_text(json.dumps(plan_record(plan_of(4.0), 0.0) | {"device": "cpu", "mesh": mesh}))
    assert main([*project.arguments, "--plan", str(plan)]) == 0
    assert json.loads((project.out / "plan.json").read_text())["mesh"] == mesh
    assert "Beside the plan" in (project.out / "report.md").read_text()
