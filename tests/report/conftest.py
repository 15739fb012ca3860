"""A run of the whole workflow, written by hand, for all tests of reports."""

from pathlib import Path

import pytest
from written_run import write_run

from reasoning.report.facts import Facts, gather


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder; tests only read it."""
    return write_run(tmp_path_factory.mktemp("written") / "run")


@pytest.fixture(scope="session")
def facts(written: Path) -> Facts:
    """What its folder tells."""
    return gather(written)
