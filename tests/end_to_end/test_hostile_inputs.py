"""Damaged files of every kind that users bring: read, or refused in one clear line, within seconds; nothing else.

A few mutations a kind are tried here. ``HOSTILE_MUTATIONS=100000`` tries more of them, ``HOSTILE_SEED=7``
others, and a failure names the seed with which one mutation of it is made again.
"""

import json
import os
import shutil
import unicodedata
from pathlib import Path
from random import Random

import pytest
from hostile import SEED, check_each
from mutations import damaged_bytes, damaged_json
from rich.console import Console
from small_project import new_project
from written_run import Written, place_of, write_run

from reasoning.cli.main import main
from reasoning.core.artifact import files_under
from reasoning.data.chat.format import ChatFormat
from reasoning.experiment.describe import describe
from reasoning.experiment.reader import Experiment, read_experiment
from reasoning.findings.facts import gather
from reasoning.findings.rollouts import Selection, choose, has_samples, read
from reasoning.report.content import compose
from reasoning.report.markdown import markdown
from reasoning.report.page import page
from reasoning.report.terminal import show
from reasoning.report.texts import show_completions
from reasoning.tasks.question_files import QuestionFile
from reasoning.use.run_folder import open_run

STAGES = [
    Written("base", "Pretrain", "checkpoint", {}, {"tokens": 5.0}, 3, (0.2, 0.2)),
    Written("zero", "GRPO", "checkpoint", {"start": ["base"]}, {"tokens": 5.0}, 3, (0.9, 0.8)),
    Written("exam", "Evaluate", "results", {"checkpoints": ["base", "zero"]}),
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_project(tmp_path_factory.mktemp("hostile")).file


@pytest.fixture(scope="module")
def experiment(project: Path) -> Experiment:
    return read_experiment(project)


def test_experiment_files(project: Path):
    whole, damaged = project.read_bytes(), project.with_name("damaged.gin")

    def attempt(random: Random) -> None:
        damaged.write_bytes(damaged_bytes(random, whole))
        read_experiment(damaged).resolved()

    check_each("experiment file", attempt)


OVERRIDES = (
    "zero.steps=3",
    "stack.count=2",
    "corpus.sources=(documents,)",
    "model.width=32",
    "zero.rewards=(@rewards.format.tagged,)",
    "lines.path='a.jsonl'",
    "optimizer.learning_rate=1e-3",
    "talk.think_open='<t>'",
)


def test_overrides(experiment: Experiment):
    def attempt(random: Random) -> None:
        text = damaged_bytes(random, random.choice(OVERRIDES).encode()).decode(errors="surrogateescape")
        experiment.vary([], [text]).resolved()

    check_each("override", attempt)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three stages whose exam is cut to few rows."""
    folder = write_run(tmp_path_factory.mktemp("whole") / "run", STAGES)
    record = place_of(folder, "zero") / "artifact.json"
    content = json.loads(record.read_text())
    content["settings"]["chat"] = describe(ChatFormat())
    record.write_text(json.dumps(content | files_under(record.parent)))
    samples = place_of(folder, "exam") / "samples.jsonl"
    lines = samples.read_text().splitlines(keepends=True)
    samples.write_text("".join(line for line in lines if '"problem": 1,' in line or '"problem": 2,' in line))
    return folder


FILES = {
    "run.json": lambda run: run / "run.json",
    "artifact.json": lambda run: place_of(run, "zero") / "artifact.json",
    "an exam's artifact.json": lambda run: place_of(run, "exam") / "artifact.json",
    "metrics.jsonl": lambda run: place_of(run, "zero") / "metrics.jsonl",
    "probes.jsonl": lambda run: place_of(run, "zero") / "probes.jsonl",
    "samples.jsonl": lambda run: place_of(run, "exam") / "samples.jsonl",
    "results.json": lambda run: place_of(run, "exam") / "results.json",
}


def read_all(run: Path, drawn: bool) -> None:
    """All that report, show and a notebook read; ``drawn``: the page too, which takes longer than all the rest."""
    facts = gather(run)
    with open(os.devnull, "w") as nowhere:
        console = Console(file=nowhere, width=120)
        show(console, facts)
        opened = open_run(run)
        for name in opened:
            stage = opened[name]
            stage.metrics(), stage.probes(), stage.trained_chat()
            if has_samples(stage.path):
                found = read(stage.path, name)
                show_completions(console, found, choose(found, Selection(limit=4)))
    report = compose(facts)
    markdown(report)
    if drawn:
        page(report)


@pytest.mark.parametrize("kind", FILES)
def test_run_folders(whole_run: Path, kind: str):
    file = FILES[kind](whole_run)
    whole = file.read_bytes()

    def attempt(random: Random) -> None:
        file.write_bytes(damaged_json(random, whole))
        read_all(whole_run, drawn=random.random() < 0.2)

    try:
        check_each(kind, attempt)
    finally:
        file.write_bytes(whole)


QUESTIONS = b"".join(b'{"question": "%d+1?", "answer": "#### %d"}\n' % (number, number + 1) for number in range(12))


def test_question_files(tmp_path: Path):
    file = tmp_path / "questions.jsonl"

    def attempt(random: Random) -> None:
        file.write_bytes(damaged_json(random, QUESTIONS))
        task = QuestionFile(path=str(file))
        for split in ("train", "test"):
            task.problems(split, 1, 0)

    check_each("questions", attempt)


def test_the_commands_print_nothing_that_acts_on_a_terminal(whole_run: Path, project: Path, tmp_path: Path, capfd):
    """A few of each through the command line: status 0 or 2, and nothing but text."""
    for number, kind in enumerate(FILES):
        run = shutil.copytree(whole_run, tmp_path / f"run{number}")
        file = FILES[kind](run)
        file.write_bytes(damaged_json(Random(f"command {kind} {SEED}"), file.read_bytes()))
        assert main(["report", str(run)]) in (0, 2)
    for bad in ("zero.st\x1b[31meps=1", "zero.steps='\x1b]0;owned\x07'", "zero.\u202esteps=3", "\x9b2J=1"):
        assert main(["run", str(project), bad, "--check", "--out", str(tmp_path / "none")]) == 2
    assert main(["show", f"{whole_run}/exam", "--kind", "\x1b[31mred"]) == 2
    assert main(["report", str(whole_run), "--compare", "\x1b[31mred"]) == 2
    printed = "".join(capfd.readouterr())
    assert "Traceback" not in printed
    assert not {character for character in printed if unicodedata.category(character) in ("Cc", "Cs")} - {"\n", "\t"}
