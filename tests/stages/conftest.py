"""What most stages start from, made once: a prepared corpus, demonstrations, and a base model."""

from pathlib import Path

import pytest
import tiny_stages

from reasoning.core.artifact import Artifact


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stages")


@pytest.fixture(scope="session")
def corpus(workshop: Path) -> Artifact:
    return tiny_stages.work(tiny_stages.CORPUS, workshop)


@pytest.fixture(scope="session")
def examples(workshop: Path, corpus: Artifact) -> Artifact:
    return tiny_stages.work(tiny_stages.DEMONSTRATIONS, workshop, {"tokenizer": corpus})


@pytest.fixture(scope="session")
def base(workshop: Path, corpus: Artifact) -> Artifact:
    return tiny_stages.work(tiny_stages.BASE, workshop, {"data": corpus})
