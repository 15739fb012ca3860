"""Traces of the steps that were asked for, and of no others."""

from pathlib import Path

import jax.numpy as jnp
import pytest

from reasoning.core.errors import InputError
from reasoning.training.profiling import Profile, profile_of


def test_a_trace_covers_the_steps_that_were_asked_for_and_ends_with_the_stage_or_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    told: list[str] = []
    monkeypatch.setattr("jax.profiler.start_trace", lambda folder, **options: told.append(f"start {Path(folder).name}"))
    monkeypatch.setattr("jax.profiler.stop_trace", lambda: told.append("stop"))

    def steps(profile: Profile, count: int, fails: int = 0) -> list[str]:
        told.clear()
        for step in range(1, count + 1):
            with profile.of_stage("zero", step, count):
                told.append(str(step))
                if step == fails:
                    raise KeyError
        return list(told)

    assert steps(profile_of("2:3", tmp_path), 4) == ["1", "start zero", "2", "3", "stop", "4"]
    assert steps(profile_of("2", tmp_path), 3) == ["1", "start zero", "2", "stop", "3"]
    assert steps(profile_of("2:9", tmp_path), 3) == ["1", "start zero", "2", "3", "stop"]
    assert steps(profile_of("", tmp_path), 2) == ["1", "2"]
    with pytest.raises(KeyError):
        steps(profile_of("1:9", tmp_path), 3, fails=2)
    assert told == ["start zero", "1", "2", "stop"]


def test_the_trace_is_one_for_perfetto_and_xprof(tmp_path: Path):
    with profile_of("1", tmp_path).of_stage("zero", 1, 1):
        jnp.ones(3).sum().block_until_ready()
    names = {path.name.partition(".")[2] for path in (tmp_path / "zero").rglob("*") if path.is_file()}
    assert "xplane.pb" in names and any("trace.json.gz" in path.name for path in tmp_path.rglob("*"))


@pytest.mark.parametrize("text", ["0:3", "3:2", "a", "1:2:3", "-1", ":"])
def test_what_names_no_steps_is_refused(text: str, tmp_path: Path):
    with pytest.raises(InputError, match="names no steps; write FIRST:LAST"):
        profile_of(text, tmp_path)
