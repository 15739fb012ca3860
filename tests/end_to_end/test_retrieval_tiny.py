"""Retrieval in miniature: what an exam says was retrieved, cited and right is what its prompts and replies say."""

import json
import re
from pathlib import Path

import pytest
from shipped import run_shipped

from reasoning.tasks.invented import SYNONYMS, Invented

OVERRIDES = {
    "documents.count": 600,
    "writer.cited": 1.0,
    "base.steps": 60,
    "base_optimizer.warmup": 10,
    "rag.steps": 2,
    "rag.questions": 4,
    "rag.samples": 4,
    "open_problems.count": 24,
    "open_quiz.samples": 4,
    "run.cpu_devices": 1,
}
LONGEST = 4  # the tokens of a reply
LINE = re.compile(r"\[(\d)\]([A-Z][a-z]{3})(\.[a-z]+):([a-z]+)\n")
CITED = re.compile(r"\[(\d+)\]")


def holders(question: str) -> set[int]:
    """The numbers of the passages that tell what a prompt asks for, by the words of the prompt alone."""
    meant = {synonym: word for word, synonym in SYNONYMS.items()}
    asked = LINE.sub("", question).removesuffix("?")
    return {int(number) for number, name, word, _ in LINE.findall(question) if name + meant.get(word, word) == asked}


@pytest.mark.slow
def test_exams_tell_what_was_retrieved_from_what_was_right(tmp_path: Path):
    run_shipped("retrieval_tiny.gin", OVERRIDES, tmp_path / "run")
    answers = {each.question: each.answer for each in Invented().problems("test", 80, 0)}
    found = {}
    for name in ("exam", "gold_exam", "closed_exam"):
        (folder,) = (tmp_path / "run" / "artifacts").glob(f"{name}-*")
        rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
        found[name] = json.loads((folder / "results.json").read_text()), rows
    results, rows = found["exam"]
    shown = 0
    for row in rows:
        holding, asked = holders(row["question"]), LINE.sub("", row["question"])
        assert row["kind"] == ("invented, retrieved" if holding else "invented, not retrieved")
        shown += bool(holding)
        for at, text in enumerate(row["texts"]):
            if "<" in text or row["lengths"][at] == LONGEST:  # a tag, which no text had, or perhaps cut off
                continue
            right = CITED.sub("", text).split("\n")[-1].strip() == answers[asked]
            cited = set(map(int, CITED.findall(text)))
            cites = bool(cited) == bool(holding) and cited <= holding
            assert row["scores"]["lenient"][at] == right
            assert row["scores"]["grounded"][at] == (right and cites)
            assert row["scores"]["cites"][at] == cites
    assert results["checkpoints"]["rag"]["recall@2"]["mean"] == pytest.approx(shown / len(rows))
    assert set(results["kinds"]["rag"]) == {"invented, retrieved", "invented, not retrieved"}
    assert all(holders(row["question"]) == {1} for row in found["gold_exam"][1])
    assert all(not LINE.search(row["question"]) for row in found["closed_exam"][1])
