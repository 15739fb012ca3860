"""Runs that are killed from outside, again and again, end as if nothing had happened, and little is done twice."""

import random
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from miniature import (
    EXPERIMENT,
    Command,
    Miniature,
    checkpoint_every,
    differences,
    first_step_shown,
    learning_stages,
    pause,
    progress,
    recorded,
    saved_steps,
    saves_under_way,
    wait_for,
)

SEED = 23
CUT_ROWS = f"""include '{EXPERIMENT}'
mesh = @core.mesh.MeshShape
mesh.data = 1
mesh.fsdp = 4
mesh.context = 2
run.mesh = mesh
run.cpu_devices = 8
run.stages = (base, zero)
"""
"""Pretraining and GRPO on eight devices, of which two share each row."""
LAST_STEPS = 6
"""No kill is planned so near the end of training; a kill that comes late must still find the run alive."""


@dataclass(frozen=True)
class Death:
    """What lay in the run's folder when a process died: recorded steps by stage, and the stages that had finished."""

    steps: dict[str, int]
    finished: set[str]


def kill(process: Command, run: Miniature) -> Death:
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    finished = {path.name.rpartition("-")[0] for path in (run.out / "artifacts").glob("[!.]*-*")}
    return Death({stage: recorded(run.out, stage) for stage in learning_stages()}, finished)


def kill_inside_a_save(process: Command, run: Miniature) -> Death:
    """Kills the process while it writes a checkpoint, and shows that it did."""
    while True:
        wait_for(process, lambda: bool(saves_under_way(run.out)), "a save")
        pause(process)
        if saves_under_way(run.out):  # It may have ended between the look and the pause.
            break
        process.send_signal(signal.SIGCONT)
    death = kill(process, run)
    [unfinished] = saves_under_way(run.out)
    stage, step = unfinished.parents[1], int(unfinished.name.split(".")[0].removeprefix("step_"))
    assert step not in saved_steps(stage) and not (unfinished / "manifest.json").exists()
    return death


def check_little_was_redone(printed: str, death: Death) -> None:
    """A process that came after a death took up every stage at most two checkpoint intervals before it.

    The newest checkpoint may not have been whole yet, which is written beside the steps; the one before it was.
    """
    for stage, steps in death.steps.items():
        first = first_step_shown(printed, stage)
        if stage in death.finished:
            assert f"{stage}: already finished" in printed and first is None
        elif first is not None:
            assert steps - 2 * checkpoint_every() < first <= steps + 1, f"{stage} died at {steps}, went on with {first}"


@pytest.mark.kill
@pytest.mark.parametrize("kills", [10])
def test_a_run_killed_at_seeded_steps_ends_in_the_hashes_of_an_uninterrupted_one(
    kills: int, reference: Path, miniature: Miniature
):
    chance = random.Random(SEED)
    planned = sorted(chance.sample(range(1, sum(learning_stages().values()) - LAST_STEPS), kills))
    inside_a_save = chance.choice(planned)
    death = Death({}, set())
    for step in planned:
        process = miniature.start()
        reached = max(step, sum(death.steps.values()) + 1)  # Each process gets further than the one before.
        wait_for(process, lambda reached=reached: progress(miniature.out) >= reached, f"step {reached}")
        before, death = death, (kill_inside_a_save if step == inside_a_save else kill)(process, miniature)
        printed, error = process.communicate()
        check_little_was_redone(printed, before)
        assert "damaged" not in error
    printed, error = miniature.complete()
    check_little_was_redone(printed, death)
    assert "damaged" not in error
    assert differences(reference, miniature.out) == []


@pytest.mark.kill
def test_a_killed_run_whose_rows_are_cut_over_devices_ends_in_the_hashes_of_an_uninterrupted_one(
    miniature: Miniature, tmp_path: Path
):
    miniature.experiment = tmp_path / "cut_rows.gin"
    miniature.experiment.write_text(CUT_ROWS)
    whole = Miniature(tmp_path / "whole", miniature.cache, experiment=miniature.experiment)
    whole.complete()
    for stage in ("base", "zero"):
        process = miniature.start()
        wait_for(process, lambda stage=stage: recorded(miniature.out, stage) > 2 * checkpoint_every(), stage)
        death = kill(process, miniature)
    printed, error = miniature.complete()
    check_little_was_redone(printed, death)
    assert first_step_shown(printed, "zero") is not None and "damaged" not in error
    assert differences(whole.out, miniature.out) == []
