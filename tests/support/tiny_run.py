"""The folder of a run with two finished stages, as the pipeline leaves it: a corpus, and a base that hardly learned."""

import json
from pathlib import Path

import tiny_stages

from reasoning.pipeline.folder import Entry, write_run


def write_tiny_run(folder: Path) -> Path:
    """Trains a base on a corpus and gives the run's folder."""
    corpus = tiny_stages.work(tiny_stages.CORPUS, folder)
    base = tiny_stages.work(tiny_stages.BASE, folder, {"data": corpus})
    for artifact in (corpus, base):
        record = {"kind": artifact.kind, "stage": artifact.stage, "hash": "0" * 64, "results": {}, "settings": {}}
        (artifact.path / "artifact.json").write_text(json.dumps(record))
    entries = [Entry(name, name, "0" * 64, finished=True) for name in ("corpus", "base")]
    write_run(folder, [*entries, Entry("zero", "zero", "0" * 64, finished=False)])
    return folder
