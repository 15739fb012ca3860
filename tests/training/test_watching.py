"""Each kind is told once, in the same words whether or not a run was interrupted, and by one process alone."""

from pathlib import Path

from reasoning.core.files import read_jsonl
from reasoning.training.diagnosis import Limits, Subject
from reasoning.training.metrics import MetricsLog
from reasoning.training.watching import Watch, is_due

SUBJECT = Subject(by_loss=True, by_rewards=False, steps=40)


def watch(folder: Path, heard: list[str], write: bool = True) -> Watch:
    return Watch("base", SUBJECT, Limits(), MetricsLog(folder, write), heard.append)


def steps(watching: Watch, first: int, last: int, saved: Path | None = None) -> None:
    """Steps as a loop makes them, which looks behind its checkpoint; ``saved`` gets what a checkpoint of each keeps."""
    for step in range(first, last + 1):
        values = {"loss": 1.0 if step < 20 else 9.0, "skipped": 0}
        watching.log.record(step, values)
        if saved is not None:
            (saved / str(step)).mkdir(parents=True)
            for name, content in watching.log.copies().items():
                (saved / str(step) / name).write_bytes(content)
        watching.look(step, values, {"seconds": 1.0, "data": 0.9 if step > 5 else 0.0})


def test_each_kind_is_told_once_and_a_resumed_run_says_the_same(tmp_path: Path):
    heard: list[str] = []
    steps(watch(tmp_path / "whole", heard), 1, 40)
    loss, data = sorted(heard, key=len)
    assert loss.startswith("stage base: the loss rose from 1 to 9") and loss.endswith("(divergence, step 22)")
    assert "data starvation" in data
    told = read_jsonl(tmp_path / "whole/warnings.jsonl")
    assert [(row["step"], row["kind"]) for row in told] == [(22, "divergence")]

    log = MetricsLog(tmp_path / "cut")
    steps(watch(log.folder, []), 1, 25, tmp_path / "saved")
    for back in (24, 22, 15):
        again: list[str] = []
        log.resume(back, tmp_path / "saved" / str(back), again.append)
        steps(watch(log.folder, again), back + 1, 40)
        assert any("divergence" in text for text in again) == (back == 15)
        assert (log.folder / "warnings.jsonl").read_bytes() == (tmp_path / "whole/warnings.jsonl").read_bytes()


def test_only_the_process_that_keeps_the_record_looks(tmp_path: Path):
    heard: list[str] = []
    steps(watch(tmp_path, heard, write=False), 1, 40)
    assert heard == [] and not list(tmp_path.iterdir())


def test_long_runs_are_looked_at_ever_less_often_and_at_their_end():
    due = [step for step in range(1, 100_001) if is_due(step, 99_999)]
    assert due[:50] == list(range(1, 51)) and 99_999 in due and len(due) < 400
    assert all(later - step <= max(1, step / 20) for step, later in zip(due, due[1:], strict=False))
