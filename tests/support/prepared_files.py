"""A corpus from files with copies in them, small enough to be prepared by several processes in a test."""

import json
import random
from pathlib import Path

from reasoning.data.mixture import Mixture
from reasoning.data.sources import Jsonl
from reasoning.stages import Prepare, TokenizerTraining

BLOCK = 7


def write_texts(folder: Path) -> None:
    """Two files of 30 texts each; every fifth is a copy of the one before it, word for word or but for a word."""
    draw = random.Random(0)
    for name in ("a", "b"):
        texts: list[str] = []
        for number in range(30):
            words = [f"{name}{draw.randrange(200)}" for _ in range(40)]
            if number % 5 == 4:
                words = texts[-1].split()
                words[-1] = words[-1] if number % 10 == 4 else "other"
            texts.append(" ".join(words))
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def files_corpus(folder: Path) -> Prepare:
    """Both files in shares of tokens, cleaned as ever and packed a few documents at a time."""
    return Prepare(
        name="corpus",
        sources=tuple(Jsonl(str(folder / f"{name}.jsonl")) for name in ("a", "b")),
        mixture=Mixture(shares=(0.7, 0.3)),
        block=BLOCK,
        tokenizer=TokenizerTraining(kind="char", size=80),
        length=64,
    )
