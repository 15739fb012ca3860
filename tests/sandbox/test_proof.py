import asyncio
from dataclasses import replace

import pytest

from reasoning.sandbox import landlock, seccomp
from reasoning.sandbox.bubblewrap import packaged
from reasoning.sandbox.proof import faults_of, holding
from reasoning.sandbox.tiers import Tier, find

# The supervisor forks, and has no JAX; a test worker has, and its children start another program at once.
pytestmark = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")


def tier(name) -> Tier:
    found = find(name, packaged())
    assert isinstance(found, Tier), found
    return found


@pytest.mark.parametrize("name", ["bubblewrap", "landlock"])
def test_a_tier_holds_here(name):
    assert asyncio.run(faults_of(tier(name))) == []


@pytest.mark.parametrize("name", ["bubblewrap", "landlock"])
def test_a_tier_that_shows_more_than_it_should_is_found_out(name):
    leaky = replace(tier(name), readable=[*tier(name).readable, "/etc"])
    assert "a program could read /etc/passwd" in asyncio.run(faults_of(leaky))


def test_a_tier_without_a_filter_of_system_calls_is_found_out(monkeypatch):
    everything = b"\x06\x00\x00\x00\x00\x00\xff\x7f"  # one instruction: return "allow"
    monkeypatch.setattr(seccomp, "program", lambda pid, compiler=False: everything)
    faults = asyncio.run(faults_of(tier("bubblewrap")))
    assert "a program could start a process by fork" in faults


def test_a_tier_without_landlock_is_found_out(monkeypatch):
    monkeypatch.setattr(landlock.kernel, "restrict_to", lambda rules: None)
    assert asyncio.run(faults_of(tier("landlock")))


def test_a_tier_that_does_not_hold_is_passed_over_with_its_reason(monkeypatch):
    monkeypatch.setattr("reasoning.sandbox.bubblewrap.newest", lambda known: "")
    found, reasons = asyncio.run(holding(["bubblewrap", "landlock"], packaged()))
    assert found is not None and found.name == "landlock"
    assert reasons == ["bubblewrap: bubblewrap 0.8 or newer is not installed"]
