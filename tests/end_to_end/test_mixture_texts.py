"""The texts of pretrain_mixture.gin, as its script takes them from the environment."""

import subprocess
import sys
from pathlib import Path

import pytest

from reasoning.data.chat.format import ChatFormat
from reasoning.data.sources import Jsonl, Parquet, TextFolder

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.slow
def test_three_sources_are_written_that_the_readers_read_with_disjoint_splits(tmp_path: Path):
    script = CHECKOUT / "experiments" / "mixture_texts.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, cwd=CHECKOUT)
    for kind, file in ((Jsonl, "pages.jsonl.gz"), (Parquet, "notes.parquet")):
        names = {}
        for split in ("train", "test"):
            chosen = {"columns": ("text",), "column": "split", "values": (split,), "keep_columns": ("name",)}
            documents = kind(f"{tmp_path}/{file}", **chosen).documents(ChatFormat(), 0)
            names[split] = {document.columns for document in documents}
        assert len(names["train"]) > 3 * len(names["test"]) > 0 and not names["train"] & names["test"]
    chapters = [len(TextFolder(f"{tmp_path}/book/{split}").documents(ChatFormat(), 0)) for split in ("train", "test")]
    assert chapters[0] > 3 * chapters[1] > 0
