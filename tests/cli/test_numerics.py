"""``reasoning numerics``: what it prints, and its exit status."""

from pathlib import Path

import pytest
from tiny_run import write_tiny_run

from reasoning.cli import numerics
from reasoning.cli.main import main
from reasoning.use.numerics import Comparison


@pytest.fixture(autouse=True)
def no_other_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "kept as the tests have it")


def test_it_shows_depths_and_ends_with_1_where_sampler_and_trainer_differ(
    corpus, base, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    folder = str(write_tiny_run(tmp_path, corpus, base))
    assert main(["numerics", folder, "base", "--length", "16", "--prompts", "8"]) == 0
    shown = capsys.readouterr().out
    whole = " ".join(shown.split())  # A long folder's name breaks the line elsewhere.
    assert "|log p - log q|, trainer p, sampler" in whole and "float32: farthest at token" in whole
    assert [line.split()[1] for line in shown.splitlines() if line.strip().startswith("float32 ")] == [
        "1", "2–3", "4–7", "8–15", "all",
    ]  # fmt: skip
    check = numerics.check_numerics

    def faulty(name: str, extent: numerics.Extent) -> tuple[Comparison, ...]:
        monkeypatch.setattr("reasoning.use.numerics.ALLOWED", 0.0)
        return check(name, extent)

    monkeypatch.setattr(numerics, "check_numerics", faulty)
    assert main(["numerics", folder, "--length", "16", "--prompts", "8"]) == 1
    assert "float32: apart by " in capsys.readouterr().out


def test_what_can_not_be_compared_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["numerics", str(tmp_path), "--length", "2"]) == 2
    assert "8 prompts and 2 tokens of context leave nothing to compare" in capsys.readouterr().err
