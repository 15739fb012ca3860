import os
import sys

import pytest

from reasoning.sandbox import kernel, tiers
from reasoning.sandbox.bubblewrap import packaged


def test_programs_may_read_the_interpreter_and_the_system_but_not_the_project():
    tier = tiers.find("landlock", "")
    assert isinstance(tier, tiers.Tier)
    shown = [os.path.realpath(path) for path in tier.readable]
    assert any(tier.python.startswith(path) for path in shown)
    assert not any(os.path.realpath(__file__).startswith(f"{path}/") for path in shown)
    assert tier.python == os.path.realpath(sys.executable)


@pytest.mark.parametrize("name", ["bubblewrap", "landlock", "unsafe"])
def test_no_isolation_is_found_off_linux(name, monkeypatch):
    monkeypatch.setattr(tiers.platform, "system", lambda: "Darwin")
    assert "needs Linux" in tiers.find(name, packaged())


def test_a_kernel_without_landlock_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(kernel, "landlock_version", lambda: 0)
    assert "Linux 5.13" in tiers.find("landlock", "")


def test_a_compiler_is_found_where_the_system_keeps_programs():
    assert os.path.basename(tiers.compiler()) == "g++"
