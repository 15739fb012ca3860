"""``reasoning watch`` prints what there is and refuses what is no run."""

from pathlib import Path

import pytest
from tiny_run import write_tiny_run

from reasoning.cli.main import main


def test_it_shows_a_run_once_where_there_is_no_terminal(
    corpus, base, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = write_tiny_run(tmp_path, corpus, base)
    assert main(["watch", str(folder), "--once"]) == 0
    shown = capsys.readouterr().out
    assert "✓ corpus  ✓ base" in shown and "base: step 24 of 24 (100%)" in shown and "entropy" in shown
    assert main(["watch", str(folder / "base")]) == 0 and "s a step" in capsys.readouterr().out


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["watch", str(tmp_path / "nothing")]) == 2
    assert "is not a run's folder" in capsys.readouterr().err
    assert main(["watch", str(tmp_path), "--every", "0"]) == 2
