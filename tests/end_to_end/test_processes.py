"""Signals, a second process, several processes: the miniature among others on a machine."""

import math
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from miniature import (
    Miniature,
    differences,
    first_step_shown,
    folder_of,
    graph,
    keep_cache,
    learning_stages,
    pause,
    progress,
    recorded,
    saved_steps,
    wait_for,
)
from quick_compile import QUICK

from reasoning.core.artifact import Artifact
from reasoning.core.files import read_json
from reasoning.use.run_folder import open_run
from reasoning.use.stage_results import StageResults

pytestmark = pytest.mark.slow

PROCESSES = ("launch", "multiprocess", "--processes", "2", "--devices", "4")
EVERY_KIND = (
    "run.stages=(exam,llama_weak_kl,llama_strong_opd)",
    "exam.checkpoints=(base,zero)",
    "llama_weak_kl.teacher=zero",
    "llama_strong_opd.teacher=zero",
    "sft2_rows.conversations=(cold_data,knowledge_data)",
)
"""Of stages each kind, and one of those alike."""


def interrupt(run: Miniature, number: signal.Signals, step: int, *more: str) -> tuple[str, dict[str, int]]:
    """Sends a signal after so many steps; what the process printed, and the steps that each stage then has saved."""
    process = run.start(*more)
    wait_for(process, lambda: progress(run.out) >= step, f"step {step}")
    process.send_signal(number)
    printed, error = process.communicate()
    assert process.returncode == 128 + number, error
    assert f"stopped by {number.name} after saving" in error and "Traceback" not in error
    saved: dict[str, int] = {}
    for stage in learning_stages():
        folder = folder_of(run.out, stage)
        saved[stage] = (saved_steps(folder) or [0])[-1] if folder else 0
        assert saved[stage] == recorded(run.out, stage), stage
    return printed, saved


def test_a_run_that_was_asked_to_stop_saves_every_step_and_goes_on_to_the_same_bytes(
    reference: Path, miniature: Miniature
):
    base, side_by_side = learning_stages()["base"], ("--jobs", "2")
    _, saved = interrupt(miniature, signal.SIGTERM, 4)
    printed, more = interrupt(miniature, signal.SIGINT, base + 2, *side_by_side)
    check_nothing_was_redone(printed, saved)
    printed, _ = miniature.complete(*side_by_side)
    check_nothing_was_redone(printed, more)
    # A stop may have left a checkpoint that no interval asks for, of the two that each stage keeps.
    stopped = re.compile(r".*artifacts/(base|zero|llama_weak)-\w+/checkpoints/")
    assert [name for name in differences(reference, miniature.out) if not stopped.match(name)] == []


def check_nothing_was_redone(printed: str, saved: dict[str, int]) -> None:
    for stage, steps in saved.items():
        assert first_step_shown(printed, stage) in (None, steps + 1)


def test_a_second_process_is_refused_while_the_first_lives_and_changes_nothing(miniature: Miniature):
    first = miniature.start()
    wait_for(first, lambda: progress(miniature.out) >= 1, "the first step")
    pause(first)
    before = {path: path.read_bytes() for path in miniature.out.rglob("*") if path.is_file()}
    second = miniature.start("--from", "base")
    printed, error = second.communicate()
    assert second.returncode == 2
    assert error.startswith("error: ") and f"in use by process {first.pid}" in error and "Traceback" not in error
    assert {path: path.read_bytes() for path in miniature.out.rglob("*") if path.is_file()} == before


def test_two_processes_of_four_devices_finish_the_run_and_the_same_command_then_skips_it(miniature: Miniature):
    command, changes = {"launcher": PROCESSES, "flags": QUICK}, ("run.cpu_devices=8", *EVERY_KIND)
    printed, _ = miniature.complete(*changes, **command)
    run = open_run(miniature.out)
    assert list(run) == list(graph(*EVERY_KIND))
    assert not list(miniature.out.rglob("*.partial*"))
    for artifact in run.artifacts():
        check_numbers(artifact)
    check_rollouts(run["zero"])
    samples = run["exam"].samples()
    asked = {tuple(row[name] for name in ("checkpoint", "problem", "method", "style")) for row in samples}
    # Eight problems, by three methods and by one in each of two further styles.
    assert len(asked) == len(samples) == len(graph(*EVERY_KIND)["exam"].parents["checkpoints"]) * 8 * 5
    assert not list(run["exam"].path.glob("parts"))
    assert run["zero"].record()["environments"][-1]["device"]["processes"] == 2
    keep_cache(miniature.cache)

    before = {path: path.stat().st_mtime_ns for path in (miniature.out / "artifacts").rglob("*")}
    printed, _ = miniature.complete(*changes, **command)
    assert printed.count("already finished") == len(graph(*EVERY_KIND)) and "starts" not in printed
    assert {path: path.stat().st_mtime_ns for path in (miniature.out / "artifacts").rglob("*")} == before


def check_rollouts(stage: StageResults) -> None:
    """The files hold the completions of both processes, in the order of the batch, with all that was made of them."""
    for row in stage.metrics():
        table = stage.rollouts(row["step"])
        groups, samples = (np.array(table[name]) for name in ("group", "sample"))
        assert list(groups) == sorted(groups) and set(groups) == set(range(len(groups) // (samples.max() + 1)))
        assert all(len(set(np.array(table["prompt"])[groups == group])) == 1 for group in set(groups))
        lengths, rewards = np.array(table["length"]), np.array(table["reward"])
        assert row["tokens"] == lengths.sum() == sum(map(len, table["sampler_log_probs"].to_pylist()))
        assert math.isclose(row["reward"], rewards.mean(), abs_tol=1e-6)
        centred = rewards - np.array([rewards[groups == group].mean() for group in groups])
        assert (np.sign(np.array(table["advantage"])) == np.sign(np.round(centred, 6))).all()


def check_numbers(artifact: Artifact) -> None:
    """Every number of a stage is finite, and process 0 alone has written each of its steps once."""
    rows = artifact.metrics()
    assert [row["step"] for row in rows] == list(range(1, learning_stages().get(artifact.stage, 0) + 1))
    # A reward that applies to none of a step's problems has no mean.
    tables = [artifact.results, *({name: row[name] for name in row if not name.startswith("rewards/")} for row in rows)]
    if artifact.kind == "results":
        scores = read_json(artifact.path / "results.json")["checkpoints"]
        tables += [interval for table in scores.values() for interval in table.values()]
    assert all(math.isfinite(float(value)) for table in tables for value in table.values()), artifact.stage
