"""The folder of a run with two finished stages, as the pipeline leaves it: a corpus, and a base that hardly learned."""

import json
import shutil
from pathlib import Path

from reasoning.core.artifact import Artifact
from reasoning.pipeline.folder import Entry, write_run


def write_tiny_run(folder: Path, corpus: Artifact, base: Artifact) -> Path:
    """Copies the two that the tests' worker has made, and gives the run's folder."""
    for artifact in (corpus, base):
        shutil.copytree(artifact.path, folder / artifact.stage)
        record = {"kind": artifact.kind, "stage": artifact.stage, "hash": "0" * 64, "results": {}, "settings": {}}
        (folder / artifact.stage / "artifact.json").write_text(json.dumps(record))
    entries = [Entry(name, name, "0" * 64, finished=True) for name in ("corpus", "base")]
    write_run(folder, [*entries, Entry("zero", "zero", "0" * 64, finished=False)])
    return folder
