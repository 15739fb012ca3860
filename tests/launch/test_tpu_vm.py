import os
import subprocess
from pathlib import Path

import pytest

SETTINGS = ("--accelerator", "v5e-16", "--zone", "us-west4-a", "--project", "p", "--bucket", "results", "--spot")


def verbs(calls: list[list[str]]) -> list[str]:
    """What each call of gcloud does, repetitions of the waiting left out."""
    found: list[str] = []
    for call in calls:
        verb = call[4] if call[0] == "gcloud" else call[0]
        if found[-1:] != [verb]:
            found.append(verb)
    return found


def test_rents_waits_copies_prepares_and_starts_in_this_order(checkout):
    assert checkout.launch("tpu-vm", "small.gin", *SETTINGS, "--detach") == 0
    calls = checkout.calls()
    assert verbs(calls) == ["describe", "create", "describe", "scp", "ssh"]
    create = next(call for call in calls if call[4] == "create")
    assert create[5:8] == ["small", "--zone=us-west4-a", "--project=p"]
    words = {"--node-id=small", "--accelerator-type=v5litepod-16", "--runtime-version=v2-alpha-tpuv5-lite", "--spot"}
    assert words <= set(create)
    copy, prepare, start = calls[-3:]
    assert {"--worker=all", "small:"} <= set(copy) and any(word.endswith("code.tar.gz") for word in copy)
    assert prepare[-1] == "--command=bash small.prepare.sh" and "--worker=all" in prepare
    assert "small.start.sh 0" in start[-1] and "setsid" in start[-1]


def test_two_slices_are_two_nodes_of_one_resource_that_know_their_numbers(checkout):
    words = [*SETTINGS, "--accelerator", "2xv5e-16"]
    assert checkout.launch("tpu-vm", "small.gin", *words, "--detach") == 0
    create = next(call for call in checkout.calls() if call[4] == "create")
    assert {"--node-count=2", "--node-prefix=small"} <= set(create)
    starts = [call for call in checkout.calls() if "start.sh" in call[-1]]
    assert [call[5] for call in starts] == ["small-0", "small-1"]
    assert ["start.sh 0" in starts[0][-1], "start.sh 1" in starts[1][-1]] == [True, True]
    script = (checkout.folder() / "small.start.sh").read_text()
    assert "REASONING_PROCESSES=8" in script and "${1:-0} * 4 + worker" in script


@pytest.mark.parametrize("step", ["queued-resources create", "tpu-vm scp", "prepare.sh", "start.sh"])
def test_whatever_step_fails_the_resource_is_named_and_can_be_stopped(checkout, monkeypatch, step, capsys):
    monkeypatch.setenv("FAIL_ON", step)
    assert checkout.launch("tpu-vm", "small.gin", *SETTINGS) == 2
    told = capsys.readouterr().err
    assert f"no {step} today" in told and "python -m launch tpu-vm stop small" in told
    monkeypatch.delenv("FAIL_ON")
    assert checkout.launch("tpu-vm", "stop", "small") == 0
    last = checkout.calls()[-1]
    assert last[3:6] == ["queued-resources", "delete", "small"] and {"--force", "--zone=us-west4-a"} <= set(last)


def test_workers_that_no_longer_answer_do_not_keep_the_resource(checkout, monkeypatch, capsys):
    assert checkout.launch("tpu-vm", "small.gin", *SETTINGS, "--detach") == 0
    monkeypatch.setenv("FAIL_ON", "tpu-vm ssh")
    assert checkout.launch("tpu-vm", "stop", "small") == 0
    assert verbs(checkout.calls())[-2:] == ["ssh", "delete"]
    assert checkout.launch("tpu-vm", "status", "small") == 0
    assert "small: ACTIVE, does not answer" in capsys.readouterr().out


def test_a_resource_that_is_taken_away_while_it_is_waited_for_is_an_error_and_asked_for_anew(
    checkout, monkeypatch, capfd
):
    monkeypatch.setenv("ENDS_AS", "SUSPENDED")
    assert checkout.launch("tpu-vm", "small.gin", *SETTINGS) == 2
    assert "small in us-west4-a is SUSPENDED" in capfd.readouterr().err
    first = len(checkout.calls())
    checkout.launch("tpu-vm", "small.gin", *SETTINGS)
    assert verbs(checkout.calls()[first:])[:2] == ["describe", "delete"]


def test_one_host_joins_nobody_and_every_worker_runs_once(checkout):
    assert checkout.launch("tpu-vm", "small.gin", *SETTINGS, "--accelerator", "v5e-1", "--dry-run") == 0
    script = (checkout.folder() / "small.start.sh").read_text()
    assert "REASONING_PROCESSES" not in script
    home = checkout.path.parent / "home"
    (home / "env/bin").mkdir(parents=True)
    (home / "env/bin/python").write_text("#!/bin/bash\necho ran\nexit 75\n")
    (home / "env/bin/python").chmod(0o755)
    (home / "start.sh").write_text(script)
    done = subprocess.run(
        ["bash", "start.sh"], cwd=home, env={"HOME": str(home), "PATH": "/usr/bin:/bin"}, capture_output=True
    )
    assert done.returncode == 75 and b"ran\nsaved" in done.stdout and not (home / "run.pid").exists()


@pytest.mark.parametrize(("there", "chosen"), [(("python3.12", "python3"), "python3.12"), (("python3",), "python3.11")])
def test_the_newest_python_is_taken_and_installed_where_none_is_new_enough(checkout, there, chosen):
    assert checkout.launch("tpu-vm", "small.gin", *SETTINGS, "--dry-run") == 0
    home, programs = checkout.path.parent / "home", checkout.path.parent / "vm"
    home.mkdir()
    programs.mkdir()
    (home / "code.tar.gz").write_bytes((checkout.folder() / "code.tar.gz").read_bytes())
    makes = "echo made $(basename $0) >> $HOME/told; mkdir -p env/bin; cp /bin/true env/bin/pip; exit 0"
    for name in ("sudo", "gcsfuse", "mountpoint", "python3.11", *there):
        old = name == "python3" or (name == "python3.11" and chosen == name)
        made = f'[ "$2" = venv ] && {{ {makes}; }}; exit {int(old)}' if name.startswith("python") else "exit 0"
        (programs / name).write_text(f'#!/bin/bash\n[ "$(basename $0)" = sudo ] && echo "$@" >> "$HOME/told"\n{made}\n')
        (programs / name).chmod(0o755)
    for name in ("python3.13", *({"python3.12"} - set(there))):
        (programs / name).write_text("#!/bin/bash\nexit 127\n")
        (programs / name).chmod(0o755)
    script = (
        (checkout.folder() / "small.prepare.sh")
        .read_text()
        .replace("cmp -s", "false")
        .replace("cp code/requirements", "true code/requirements")
    )
    environment = {"HOME": str(home), "PATH": f"{programs}{os.pathsep}/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    told = (home / "told").read_text().splitlines()
    assert told[-1] == f"made {chosen}" and ("install" in " ".join(told[:-1])) == (chosen == "python3.11")
    assert Path(home / "code/small.gin").is_file()
