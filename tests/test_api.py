import dataclasses
import re
import subprocess
import sys
from dataclasses import dataclass

import jax
import pytest

import reasoning as r
from reasoning.core.artifact import Outcome
from reasoning.core.errors import InputError
from reasoning.rewards.accuracy import strict
from reasoning.use.loaded_model import LoadedModel
from reasoning.use.stage_results import StageResults


@dataclass(frozen=True)
class Constant:
    name: str = ""
    value: float = 1.0

    def run(self, inputs, out, context):
        (out / "metrics.jsonl").write_text('{"step": 1, "loss": 2.5}\n')
        return Outcome("results", {"value": self.value})


def test_importing_the_package_imports_nothing_heavy():
    script = "import sys, reasoning; sys.exit(any(name in sys.modules for name in ('jax', 'numpy', 'rich')))"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_subpackages_load_at_their_first_use_and_unknown_names_are_attribute_errors():
    assert r.pipeline.Run.__name__ == "Run"
    assert {"find", "open", "read", "run", "summary", "stages", "core"} <= set(dir(r))
    with pytest.raises(AttributeError, match="no attribute 'stagse'"):
        _ = r.stagse


def test_stages_built_in_python_run_and_open_as_a_mapping(tmp_path, capsys):
    plan = r.pipeline.Run(stages=(Constant("first"), Constant("second", 2.0)), cpu_devices=jax.device_count())
    made = r.run(plan, tmp_path / "out")
    assert list(made) == ["first", "second"] and made["second"].results == {"value": 2.0}
    assert r.open(tmp_path / "out")["first"].metrics() == [{"step": 1, "loss": 2.5}]
    assert "second: finished" in capsys.readouterr().out


def test_reading_takes_overrides_as_python_values(tmp_path):
    file = tmp_path / "a.gin"
    file.write_text("run = @pipeline.Run\nrun.stages = ()\n")
    assert r.read(file, {"run.seed": 7}).part("run").seed == 7
    with pytest.raises(InputError, match="seed"):
        r.read(file, {"run.seed": "7"})


def test_a_summary_prints_what_a_run_has_found(tmp_path, capsys):
    r.run(r.pipeline.Run(stages=(Constant("first", 0.25),), cpu_devices=jax.device_count()), tmp_path / "out")
    capsys.readouterr()
    r.summary(r.open(tmp_path / "out"))
    first = capsys.readouterr().out
    r.summary(str(tmp_path / "out"))
    assert capsys.readouterr().out == first and "first" in first


def test_what_files_call_by_name_is_found_by_it():
    assert r.find("rewards.accuracy.strict") is r.find("@rewards.accuracy.strict") is strict
    with pytest.raises(InputError, match="has no 'strcit'; did you mean 'strict'"):
        r.find("rewards.accuracy.strcit")


def test_every_call_in_the_packages_own_words_exists():
    """The docstring is what notebooks are written from."""
    for name in re.findall(r"\br\.(\w+)", r.__doc__):
        assert hasattr(r, name), name
    names = re.findall(r"^    zero\.(\w+)|^    model\.(\w+)", r.__doc__, re.MULTILINE)
    fields = {field.name for field in dataclasses.fields(StageResults)}
    assert all(ours in fields or hasattr(StageResults, ours) for ours, _ in names if ours)
    assert {theirs for _, theirs in names if theirs} == {"generate", "vote"}
    assert all(hasattr(LoadedModel, name) for name in ("generate", "vote", "config", "params"))
