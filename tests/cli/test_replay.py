"""``reasoning replay``: its exit status and what it prints; ``tests/use/test_replay.py`` does steps again."""

import math
from pathlib import Path

import pytest

from reasoning.cli import replay
from reasoning.cli.main import main
from reasoning.use.replay import Replayed


@pytest.fixture(autouse=True)
def no_other_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "kept as the tests have it")


@pytest.mark.parametrize(("now", "status", "told"), [(0.1, 0, "all are the same"), (0.2, 1, "1 of 2 metrics differ")])
def test_it_ends_with_1_where_a_metric_differs(
    now: float, status: int, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    found = Replayed(
        "zero", 3, "the checkpoint of step 2", {"loss": math.nan, "kl": 0.1}, {"loss": math.nan, "kl": now}
    )
    monkeypatch.setattr(replay, "find_step", lambda name, step: None)
    monkeypatch.setattr(replay, "replay", lambda asked, file, overrides: found)
    assert main(["replay", "a_run"]) == status
    shown = capsys.readouterr().out
    assert "zero, step 3, from the checkpoint of step 2" in shown and told in shown


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["replay", str(tmp_path / "nothing")]) == 2
    assert main(["replay", str(tmp_path), "--step", "-1"]) == 2
    assert "is not a run's folder" in capsys.readouterr().err
