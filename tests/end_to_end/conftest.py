"""The miniature of the main job: a finished run for all tests to compare with, and one that hasn't begun."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from miniature import Miniature, copy_cache, uninterrupted


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an uninterrupted run has left; the workers of one test session share it."""
    own = tmp_path_factory.getbasetemp()
    return uninterrupted(own.parent if own.name.startswith("popen-") else own)


@pytest.fixture
def miniature(tmp_path: Path) -> Iterator[Miniature]:
    """A run of the test's own."""
    run = Miniature(tmp_path / "out", copy_cache(tmp_path / "cache"))
    yield run
    run.close()
