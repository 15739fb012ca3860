"""A run is shown while it writes: torn lines wait, a run that went back is read anew, nothing acts on the terminal."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from reasoning.cli.watching import RunWatcher, Tail
from reasoning.core.errors import InputError
from reasoning.pipeline.folder import Entry, present_folder, write_run
from reasoning.report.console import put


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose stage zero is at work, after a finished base."""
    entries = [Entry("base", "artifacts/base-0", "0" * 64, True), Entry("zero", "artifacts/zero-1", "1" * 64, False)]
    write_run(tmp_path, [*entries, Entry("exam", "artifacts/exam-2", "2" * 64, False)])
    for entry in entries:
        present_folder(tmp_path, entry).mkdir(parents=True)
        write(present_folder(tmp_path, entry), 1, 4)
    return tmp_path


def zero(run: Path) -> Path:
    return run / "artifacts/.zero-111111111111.partial"


def write(folder: Path, first: int, last: int, mode: str = "a", **more: float) -> None:
    with open(folder / "metrics.jsonl", mode) as metrics, open(folder / "timings.jsonl", mode) as timings:
        for step in range(first, last + 1):
            values = {"step": step, "reward": step / 10, "rewards/a\x1b[2Jb/mean": 1.0, "loss": "nan", "tokens": 80}
            metrics.write(json.dumps(values | more) + "\n")
            timings.write(json.dumps({"step": step, "steps": 10, "seconds": 30.0, "update": 15.0}) + "\n")


def shown(watcher: RunWatcher) -> str:
    console = Console(file=io.StringIO(), width=140)
    for part in watcher.look():
        put(console, part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_it_shows_the_stage_at_work_its_step_the_time_left_and_its_curves(run: Path):
    (zero(run) / "warnings.jsonl").write_text(
        '{"step": 3, "kind": "divergence", "words": "the loss \\u001b[31mrose"}\n'
    )
    watcher = RunWatcher(run)
    text = shown(watcher)
    assert "✓ base  ▶ zero  · exam" in text and "zero: step 4 of 10 (40%), about 3:00 left" in text
    assert "30 s a step; 2.667 tokens/s" not in text and "tokens/s" in text and "update 50%" in text
    assert "▁▃▆█" in text and "step 3, divergence: the loss rose" in text
    assert "\x1b" not in text and "rewards/ab/mean" in text
    write(zero(run), 5, 6)
    assert "step 6 of 10 (60%), about 2:00 left" in shown(watcher) and not watcher.finished()
    assert "base: step 4 of 10 (40%)" in shown(RunWatcher(run, "base"))


def test_a_torn_line_waits_until_it_has_ended_and_no_row_is_read_twice(run: Path):
    tail = Tail(zero(run) / "metrics.jsonl")
    assert [row["step"] for row in tail.rows()] == [1, 2, 3, 4]
    with open(tail.path, "a") as file:
        file.write('{"step": 5, "rew')
        file.flush()
        assert list(tail.rows()) == []
        file.write('ard": 1}\nnot json\n[1]\n{"step": 6}\n')
    assert [row["step"] for row in tail.rows()] == [5, 6] and list(tail.rows()) == []


def test_a_run_that_went_back_is_read_anew(run: Path):
    watcher = RunWatcher(run)
    shown(watcher)
    write(zero(run), 1, 2, mode="w", reward=0.9)
    assert "step 2 of 10" in shown(watcher) and "0.4" not in shown(watcher)


def test_a_folder_without_anything_and_a_stage_that_there_is_not(run: Path, tmp_path: Path):
    with pytest.raises(InputError, match="has no stage 'one'; there are base, zero, exam"):
        shown(RunWatcher(run, "one"))
    assert "exam: step 0" in shown(RunWatcher(run, "exam"))
    write_run(run, [])
    assert "no stage trains yet" in shown(RunWatcher(run)) and RunWatcher(run).finished()
