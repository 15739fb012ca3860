import asyncio
import os
import stat
import subprocess
from pathlib import Path

import pytest

from reasoning.sandbox.inside.attempts import run
from reasoning.sandbox.proof import faults_of
from reasoning.sandbox.tiers import Tier, find

# The supervisor forks, and has no JAX; a test worker has, and its children start another program at once.
pytestmark = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")


def state(paths: list[str]) -> list[tuple[int, int, int]]:
    """Mode, owner and group of each."""
    found = [os.stat(path) for path in paths]
    return [(stat.S_IMODE(each.st_mode), each.st_uid, each.st_gid) for each in found]


def test_attempts_that_succeed_do_no_harm():
    """Where nothing confines them: every attempt is made for real, by whoever runs this, root among them."""
    tier = find("unsafe", "")
    assert isinstance(tier, Tier)
    package = str(Path(run.__code__.co_filename).parents[1])
    places = ["/", "/usr", "/etc", "/etc/passwd", "/etc/shadow", "/var/tmp", os.path.expanduser("~"), package]
    places += [str(path) for path in Path(package).rglob("*.py")]
    before, shared = state(places), subprocess.run(["ipcs", "-m"], capture_output=True).stdout
    faults = asyncio.run(faults_of(tier))
    assert "a program could start a process by fork" in faults
    assert "a program could read /etc/passwd" in faults
    assert state(places) == before
    assert subprocess.run(["ipcs", "-m"], capture_output=True).stdout == shared
    assert not [path for place in places if os.path.isdir(place) for path in Path(place).glob("reasoning-proof-*-*")]
