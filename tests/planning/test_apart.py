"""What is done in a process of its own leaves files, and how it failed is told."""

import os
from pathlib import Path

import pytest

from reasoning.core.errors import InputError
from reasoning.planning.apart import apart


@pytest.mark.parametrize(
    ("work", "given", "told"),
    [
        (os.getpid, (), ""),
        (os._exit, (0,), ""),
        (os._exit, (3,), "ended with status 3"),
        (os.abort, (), "killed by SIGABRT"),
    ],
)
def test_how_work_ends_is_told(work, given, told):
    assert apart(work, *given) == told


def test_work_is_done_elsewhere(tmp_path: Path):
    there = tmp_path / "there"
    assert apart(_leave, there) == ""
    assert there.read_text() not in ("", str(os.getpid()))


def test_what_the_user_did_wrong_is_told_by_its_message():
    assert apart(_refuse) == "plan again"


def _refuse() -> None:
    raise InputError("plan again")


def _leave(file: Path) -> None:
    file.write_text(str(os.getpid()))
