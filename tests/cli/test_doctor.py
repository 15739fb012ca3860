import tomllib
from importlib import metadata
from pathlib import Path

import jax
import pytest

from reasoning.cli import doctor
from reasoning.core.errors import InputError
from reasoning.sandbox.grading import Sandbox

PROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]


@pytest.fixture(autouse=True)
def cache(monkeypatch):
    """The tests' own cache of compiled programs stays the one in use."""
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", jax.config.values["jax_compilation_cache_dir"])


def state(findings: list[doctor.Finding], name: str) -> str:
    return {finding.name: finding.state for finding in findings}[name]


def test_this_environment_is_found_fit_for_runs_and_named_by_its_versions(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "ahead_of_time", lambda: doctor.Finding("compile for TPU", "note", "not tried"))
    assert doctor.main([]) == 0
    printed = capsys.readouterr().out
    assert "Runs work here." in printed
    assert jax.__version__ in printed
    assert f"{jax.device_count()} × cpu" in printed


def test_a_missing_dependency_is_bad_and_fails_the_verdict(monkeypatch, capsys):
    real = metadata.version

    def without_optax(name: str) -> str:
        if name == "optax":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", without_optax)
    monkeypatch.setattr(doctor, "ahead_of_time", lambda: doctor.Finding("compile for TPU", "note", "not tried"))
    assert doctor.main([]) == 1
    assert "see optax." in capsys.readouterr().out


def test_a_release_below_the_stated_one_is_bad(monkeypatch):
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0.9.99" if name == "jax" else real(name))
    assert state(doctor.versions(), "jax") == "bad"
    assert state(doctor.versions(), "flax") == "ok"


@pytest.mark.parametrize(
    ("installed", "lowest", "expected"),
    [("0.10.2", "0.10.2", False), ("0.9.10", "0.10", True), ("0.12.0.1", "0.12", False), ("2.0.0rc1", "2", False)],
)
def test_releases_compare_by_numbers_and_not_as_text(installed, lowest, expected):
    assert doctor.older(installed, lowest) is expected


def test_an_absent_package_is_reported_instead_of_raised(monkeypatch):
    monkeypatch.setattr(doctor, "_DISTRIBUTION", "no-such-distribution")
    assert state(doctor.versions(), "no-such-distribution") == "bad"
    assert doctor.extras() == []


def test_every_extra_of_pyproject_is_listed_with_a_purpose():
    assert doctor.PURPOSES.keys() == PROJECT["optional-dependencies"].keys()
    listed = {finding.name: finding.text for finding in doctor.extras()}
    assert {name: text.split(" (missing")[0] for name, text in listed.items()} == {
        f"extra {name}": purpose for name, purpose in doctor.PURPOSES.items()
    }


def test_the_sum_over_a_mesh_of_every_device_is_checked():
    assert doctor.mesh_sum(jax.devices()).state == "ok"


def test_a_platform_that_does_not_start_is_bad_and_not_a_crash(monkeypatch):
    def broken():
        raise RuntimeError("Unable to initialize backend 'tpu'")

    monkeypatch.setattr(jax, "devices", broken)
    [finding] = doctor.devices()
    assert finding.state == "bad"
    assert "Unable to initialize backend 'tpu'" in finding.text


def test_libtpu_is_tried_by_compiling():
    pytest.importorskip("libtpu")
    finding = doctor.ahead_of_time()
    assert finding.state == "ok", finding.text


def test_a_libtpu_that_can_not_compile_is_a_note_with_the_reason(monkeypatch):
    monkeypatch.setattr(doctor, "installed_version", lambda name: "9.9")
    monkeypatch.setattr(doctor, "_AHEAD_OF_TIME", "raise SystemExit('RET_CHECK failure')")
    finding = doctor.ahead_of_time()
    assert finding.state == "note"
    assert "RET_CHECK failure" in finding.text


def test_the_folder_of_compiled_programs_is_named_and_its_absence_noted(tmp_path):
    later = str(tmp_path / "later")
    assert doctor.compile_cache(later) == doctor.Finding("compile cache", "ok", f"{later}, made on first use")
    assert doctor.compile_cache(None).state == "note"


def test_the_sandbox_is_named_by_its_proved_tier_or_by_what_is_missing(monkeypatch):
    [found, _] = doctor.sandbox(Sandbox(tier="landlock"))
    assert (found.state, found.text.split(";")[0]) == ("ok", "landlock")

    def missing(settings: Sandbox) -> str:
        raise InputError("no sandbox holds here")

    monkeypatch.setattr(doctor, "isolation", missing)
    monkeypatch.setattr(doctor, "compiler", lambda: "")
    assert [(found.name, found.state) for found in doctor.sandbox(Sandbox())] == [
        ("code sandbox", "note"),
        ("C++ compiler", "note"),
    ]
