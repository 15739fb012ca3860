"""A run of the whole workflow, written by hand, with rollouts of which every text tries to get out of the page."""

from pathlib import Path

import pytest
from rollout_files import write_rollouts
from written_run import place_of, write_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder; tests only read it."""
    folder = write_run(tmp_path_factory.mktemp("viewer") / "run")
    for step in (1, 15, 45):
        write_rollouts(place_of(folder, "zero"), step, problems=24, samples=4)
    return folder
