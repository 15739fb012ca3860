"""What all targets share, looked at where it is simplest: on Slurm and TPU VMs."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from launch import background, shipment
from reasoning.experiment.reader import read_experiment

TPU = ("--accelerator", "v5e-16", "--zone", "z", "--bucket", "b")
GKE = ("--accelerator", "2xv5e-16", "--image", "registry/image", "--bucket", "b")
WAYS = [("slurm",), ("tpu-vm", *TPU), ("gke", *GKE)]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way[0])
def test_a_dry_run_writes_everything_and_calls_nobody(checkout, way, capsys):
    assert checkout.launch(way[0], "small.gin", "run.seed=5", *way[1:], "--dry-run") == 0
    assert checkout.calls() == []
    assert str(checkout.folder().relative_to(checkout.path)) in capsys.readouterr().out
    resolved = read_experiment(checkout.folder() / "small.gin")
    assert resolved.part("run").seed == 5
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], text=True).strip()
    assert checkout.record()["commit"] == commit
    with tarfile.open(checkout.folder() / "code.tar.gz") as archive:
        assert {"small.gin", "sweep.gin", ".gitignore"} <= set(archive.getnames())


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way[0])
def test_every_script_passes_shellcheck(checkout, way):
    beside = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    found = shutil.which("shellcheck", path=beside)
    if found is None:
        assert os.environ.get("REASONING_REQUIRE_SHELLCHECK") != "1", "shellcheck is not installed"
        pytest.skip("shellcheck is not installed (it is in the dev extra)")
    assert checkout.launch(way[0], "sweep.gin", *way[1:], "--dry-run", "--cells", "0,1") == 0
    folder = checkout.folder("sweep")
    scripts = [*folder.glob("*.sh"), *folder.glob("*.sbatch")]
    for number, manifest in enumerate(folder.glob("sweep-*.json")):
        job = json.loads(manifest.read_text())["items"][1]["spec"]["replicatedJobs"][0]["template"]["spec"]
        [container] = job["template"]["spec"]["containers"]
        scripts.append(folder / f"pod-{number}.sh")
        scripts[-1].write_text('#!/bin/bash\n: "${SLICE:=0} ${JOB_COMPLETION_INDEX:=0}"\n' + container["command"][2])
    done = subprocess.run([found, *map(str, scripts)], capture_output=True, text=True)
    assert len(scripts) >= 3 and done.returncode == 0, done.stdout


def test_changes_that_no_commit_holds_are_refused_unless_asked_for(checkout, capsys):
    Path("small.gin").write_text(Path("small.gin").read_text() + "run.cpu_devices = 2\n")
    assert checkout.launch("slurm", "small.gin", "--dry-run") == 2
    assert "small.gin" in capsys.readouterr().err
    before = subprocess.check_output(["git", "status", "--porcelain"], text=True)
    assert checkout.launch("slurm", "small.gin", "--dry-run", "--dirty") == 0
    with tarfile.open(checkout.folder() / "code.tar.gz") as archive:
        [file] = [archive.extractfile(member) for member in archive if member.name == "small.gin"]
        assert file is not None and b"cpu_devices = 2" in file.read()
    assert subprocess.check_output(["git", "status", "--porcelain"], text=True) == before


def test_what_does_not_fit_is_refused_unless_forced(checkout, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(shipment, "answer", lambda command: asked.append(command) or (1, "zero needs 40 GiB of 16"))
    assert checkout.launch("tpu-vm", "small.gin", "run.seed=4", *TPU, "--dry-run") == 2
    assert asked[0][1:] == ("-m", "reasoning", "plan", "small.gin", "run.seed=4", "--on", "v5litepod-16")
    assert "zero needs 40 GiB of 16" in capsys.readouterr().err and not checkout.folder().exists()
    assert checkout.launch("tpu-vm", "small.gin", *TPU, "--dry-run", "--force") == 0 and len(asked) == 1


def test_a_sweep_is_one_job_a_cell_with_results_of_its_own(checkout):
    assert checkout.launch("slurm", "sweep.gin", "--dry-run", "--store", "s3://bucket/clip/") == 0
    cells = checkout.record("sweep")["cells"]
    assert [cell["name"] for cell in cells] == ["sweep-0", "sweep-1", "sweep-2"]
    assert len({cell["out"] for cell in cells}) == 3
    seeds = [read_experiment(checkout.folder("sweep") / cell["text"]).part("run").seed for cell in cells]
    assert seeds == [3, 4, 5]
    scripts = [path.read_text() for path in checkout.folder("sweep").glob("*.s*")]
    for cell in cells:  # A store has one owner at a time.
        assert sum(f"s3://bucket/clip/{cell['name']}" in script for script in scripts) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("slurm", "none.gin"), "none.gin"),
        (("slurm", "small.gin", "--name", "Not A Name"), "--name"),
        (("slurm", "sweep.gin", "--cells", "7"), "there are 3"),
        (("tpu-vm", "small.gin", *TPU, "--accelerator", "v5e-7"), "v5e-7"),
        (("slurm", "small.gin", "--store", "bucket/clip"), "write s3://BUCKET/RUN"),
        (("slurm", "status", "never"), "never"),
    ],
)
def test_wrong_input_is_one_clear_message(checkout, words, told, capsys):
    assert checkout.launch(*words) == 2
    error = capsys.readouterr().err
    assert told in error and "Traceback" not in error and checkout.calls() == []


def began(checkout, word: str) -> list[str]:
    """The cells for which another program has been told a word that begins their job, in order."""
    calls = [" ".join(call) for call in checkout.calls() if any(word in part for part in call)]
    return [name for call in calls for name in ("sweep-0", "sweep-1", "sweep-2") if f"{name}." in call]


@pytest.mark.parametrize(("way", "begins"), [(WAYS[1], "start.sh"), (WAYS[2], "apply")], ids=["tpu-vm", "gke"])
def test_cells_wait_for_the_first_behind_the_terminal(checkout, way, begins, capsys):
    assert checkout.launch(way[0], "sweep.gin", *way[1:], "--detach") == 0
    behind = checkout.folder("sweep") / "behind.json"
    first = began(checkout, begins)
    assert set(first) == {"sweep-0"} and background.state(behind).startswith("running")
    assert checkout.launch(way[0], "status", "sweep") == 0
    told = capsys.readouterr().out
    assert all(f"sweep-{number}: " in told for number in range(3)) and "running as process" in told
    Path(f"{checkout.records}.ended").touch()
    limit = time.monotonic() + 60
    while background.state(behind).startswith("running") and time.monotonic() < limit:
        time.sleep(0.05)
    assert sorted({*began(checkout, begins)}) == ["sweep-0", "sweep-1", "sweep-2"]
    assert began(checkout, begins)[: len(first)] == first


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way[0])
def test_one_cell_is_followed_and_stopped_and_stopping_all_stops_what_would_submit_more(checkout, way, capsys):
    assert checkout.launch(way[0], "sweep.gin", *way[1:], "--detach") == 0
    before = len(checkout.calls())
    for cell in ("2", "sweep-2"):
        assert checkout.launch(way[0], "logs", "sweep", "--cell", cell) == 0
        assert checkout.launch(way[0], "stop", "sweep", "--cell", cell) == 0
    said = [" ".join(call) for call in checkout.calls()[before:] if call[0] in ("tail", "kubectl", "scancel")]
    assert sum("sweep-2" in line for line in said if "follow" in line) == 2 * (way[0] != "tpu-vm")
    assert not any("sweep-1" in line for line in said)
    assert checkout.launch(way[0], "stop", "sweep") == 0
    behind = checkout.folder("sweep") / "behind.json"
    limit = time.monotonic() + 10
    while behind.is_file() and background.state(behind).startswith("running") and time.monotonic() < limit:
        time.sleep(0.02)
    assert behind.is_file() == (way[0] != "slurm") and not (
        behind.is_file() and background.state(behind).startswith("running")
    )
    assert checkout.launch(way[0], "logs", "sweep", "--cell", "7") == 2
    assert "sweep-0, sweep-1, sweep-2" in capsys.readouterr().err
