"""A committed checkout with one experiment, and recorders in place of other programs."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from launch import __main__ as entry
from launch import background, shipment

EXPERIMENT = """
subject = @tasks.chains.Chains
writer = @tasks.worked_corpus.WorkedCorpus
writer.subject = subject
documents = @data.sources.Generated
documents.write = writer
documents.count = 20
vocabulary = @stages.TokenizerTraining
vocabulary.kind = 'char'
vocabulary.size = 80
corpus = @stages.Prepare
corpus.sources = (documents,)
corpus.tokenizer = vocabulary
corpus.length = 32
run = @pipeline.Run
run.stages = (corpus,)
run.seed = 3
"""

RECORDER = """#!/bin/bash
printf '%s\\n' "$(printf '%s\\x1f' "$(basename "$0")" "$@")" >> "$RECORDS"
line="$(basename "$0") $*"
if [ -n "${FAIL_ON:-}" ] && [[ "$line" == *$FAIL_ON* ]]; then echo "no $FAIL_ON today" >&2; exit 1; fi
case "$line" in
  *queued-resources\\ create*) echo 0 > "$RECORDS.asked" ;;
  *queued-resources\\ describe*)
    if [ -e "$RECORDS.asked" ]; then
      asked=$(cat "$RECORDS.asked"); echo $((asked + 1)) > "$RECORDS.asked"
      if [ "$asked" -lt 2 ]; then echo PROVISIONING; else echo "${ENDS_AS:-ACTIVE}"; fi
    else exit 1; fi ;;
  sbatch*) echo 41 ;;
  kubectl*get\\ pods*) asked=$(cat "$RECORDS.pods" 2> /dev/null); echo "x$asked" > "$RECORDS.pods"
    if [ "${#asked}" -ge 2 ]; then echo pod/one; fi ;;
  kubectl*metadata.name*) if [ -e "$RECORDS.ended" ]; then echo "first Completed"; else echo "first "; fi ;;
  kubectl*get\\ jobset*) echo "${JOBSET:-}" ;;
  *tpu-vm\\ ssh*--worker=0*)
    if [ -e "$RECORDS.ended" ]; then echo "run ended with exit status 0"; else echo "run at work"; fi ;;
  docker\\ manifest*) exit 1 ;;
esac
"""


@dataclass
class Checkout:
    """A checkout of one's own; ``launch`` runs the command in it, ``calls`` says what other programs were told."""

    path: Path
    records: Path

    def launch(self, *words: str) -> int:
        return entry.main([*words])

    def calls(self) -> list[list[str]]:
        if not self.records.exists():
            return []
        return [line.rstrip("\x1f\n").split("\x1f") for line in self.records.read_text().splitlines()]

    def folder(self, name: str = "small") -> Path:
        return self.path / "runs/launch" / name

    def record(self, name: str = "small") -> dict:
        return json.loads((self.folder(name) / "launch.json").read_text())


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Checkout]:
    top, programs = tmp_path / "checkout", tmp_path / "programs"
    top.mkdir()
    programs.mkdir()
    (top / "small.gin").write_text(EXPERIMENT)
    (top / "sweep.gin").write_text(f"{EXPERIMENT}sweep = @pipeline.Sweep\nsweep.seeds = 3\n")
    (top / ".gitignore").write_text("runs/\n")
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    for words in (("init", "-q"), ("add", "."), (*identity, "commit", "-qm", "first")):
        subprocess.run(["git", *words], cwd=top, check=True)
    for name in ("gcloud", "kubectl", "docker", "sbatch", "squeue", "scancel", "tail"):
        (programs / name).write_text(RECORDER)
        (programs / name).chmod(0o755)
    monkeypatch.chdir(top)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("RECORDS", str(tmp_path / "records"))
    monkeypatch.setenv("POLL_SECONDS", "0.05")
    for name in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"):
        monkeypatch.setenv(name, "a")
    for name in ("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "a@b")
    # What a plan says is another command's business; these tests set it.
    real = shipment.answer
    monkeypatch.setattr(shipment, "answer", lambda command: (0, "fits") if "plan" in command else real(command))
    yield Checkout(top, tmp_path / "records")
    for record in top.rglob("behind.json"):  # What waits for a first cell outlives a test that has failed.
        background.end(record, 10.0, group=True)
