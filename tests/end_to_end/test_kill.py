"""Runs that are killed from outside, again and again, end as if nothing had happened, and little is done twice."""

import random
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from miniature import (
    Miniature,
    checkpoint_every,
    content,
    differences,
    first_step_shown,
    folder_of,
    learning_stages,
    pause,
    progress,
    recorded,
    saved_steps,
    saves_under_way,
    wait_for,
)

SEED = 23
LAST_STEPS = 6
"""No kill is planned so near the end of training; a kill that comes late must still find the run alive."""


@dataclass(frozen=True)
class Death:
    """What lay in the run's folder when a process died: recorded steps by stage, and the stages that had finished."""

    steps: dict[str, int]
    finished: set[str]


def kill(process: subprocess.Popen, run: Miniature) -> Death:
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    finished = {path.name.rpartition("-")[0] for path in (run.out / "artifacts").glob("[!.]*-*")}
    return Death({stage: recorded(run.out, stage) for stage in learning_stages()}, finished)


def kill_inside_a_save(process: subprocess.Popen, run: Miniature) -> Death:
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
    """A process that came after a death took up every stage at most one checkpoint interval before it."""
    for stage, steps in death.steps.items():
        first = first_step_shown(printed, stage)
        if stage in death.finished:
            assert f"{stage}: already finished" in printed and first is None
        elif first is not None:
            assert steps - checkpoint_every() < first <= steps + 1, f"{stage} died at {steps}, went on with {first}"


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


def steps_are_recorded(folder: Path) -> bool:
    return (folder / "metrics.jsonl").exists() and (folder / "metrics.jsonl").read_bytes().count(b"\n") >= 2


def a_part_is_there(folder: Path) -> bool:
    return any((folder / "parts").glob("*.jsonl"))


# In the order in which the stages run.
PLACES = {
    "zero": steps_are_recorded,
    "cot_data": a_part_is_there,
    "exam": a_part_is_there,
    "llama_weak_kl": steps_are_recorded,
}


@pytest.mark.slow
def test_a_run_killed_while_it_reinforces_collects_distills_and_evaluates_ends_in_the_same_hashes(
    reference: Path, miniature: Miniature
):
    for stage, under_way in PLACES.items():
        process = miniature.start()

        def reached(stage=stage, under_way=under_way) -> bool:
            return any(under_way(folder) for folder in miniature.out.glob(f"artifacts/.{stage}-*.partial"))

        wait_for(process, reached, f"work in {stage}")
        death = kill(process, miniature)
        process.communicate()
        assert stage not in death.finished, f"{stage} was over before it could be killed"
    _, error = miniature.complete()
    assert "damaged" not in error
    assert differences(reference, miniature.out) == []


@pytest.mark.slow
def test_a_flipped_bit_in_a_checkpoint_is_named_and_the_one_before_it_is_used(reference: Path, miniature: Miniature):
    # Checkpoints at every step leave no result changed, and enough of them before the stage ends.
    command = ("--only", "corpus,base", "run.checkpoint_every=1")
    process = miniature.start(*command)
    wait_for(process, lambda: progress(miniature.out) >= 3, "the third step")
    kill(process, miniature)
    process.communicate()
    folder = folder_of(miniature.out, "base")
    assert folder is not None
    *_, before, newest = saved_steps(folder)
    arrays = (folder / "checkpoints" / f"step_{newest:08d}" / "state").rglob("d/*")
    damaged = max(arrays, key=lambda path: path.stat().st_size)
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    printed, error = miniature.complete(*command)
    [warning] = [line for line in error.splitlines() if "damaged" in line]
    assert str(damaged) in warning and f"using step {before} instead" in warning
    assert first_step_shown(printed, "base") == before + 1
    base = next(miniature.out.glob("artifacts/base-*")).relative_to(miniature.out)
    expected, found = content(reference), content(miniature.out)
    for name in (f"{base}/metrics.jsonl", f"{base}/artifact.json", f"arrays of {base}/checkpoint"):
        assert found[name] == expected[name]
