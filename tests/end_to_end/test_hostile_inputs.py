"""Damaged files of every kind that users bring: read, or refused in one clear line, within seconds; nothing else.

A few mutations a kind are tried here. ``HOSTILE_MUTATIONS=100000`` tries more of them, ``HOSTILE_SEED=7``
others, and a failure names the seed with which one mutation of it is made again.
"""

import json
import os
import shutil
import signal
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import gguf_file
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow_datasets as tfds
import tokenizers
from mutations import damaged_bytes, damaged_json
from rich.console import Console
from safetensors_folder import write_file
from small_project import new_project
from written_run import Written, place_of, write_run

from reasoning.cli.main import main
from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.records import write_records
from reasoning.data.sources import DocumentSource, Parquet, Tfds
from reasoning.data.tokenizers.files import load_tokenizer
from reasoning.experiment.describe import describe
from reasoning.experiment.reader import Experiment, read_experiment
from reasoning.models.formats.families import read_config
from reasoning.models.formats.safetensors import read_folder
from reasoning.models.model import build_model, parameter_count
from reasoning.report.content import compose
from reasoning.report.facts import gather
from reasoning.report.markdown import markdown
from reasoning.report.page import page
from reasoning.report.rollouts import Selection, choose, has_samples, read
from reasoning.report.rollouts import show as show_rollouts
from reasoning.report.terminal import show
from reasoning.stages.pretrained import find
from reasoning.tasks.question_files import QuestionFile
from reasoning.use.run_folder import open_run

MUTATIONS = int(os.environ.get("HOSTILE_MUTATIONS", "25"))
SEED = int(os.environ.get("HOSTILE_SEED", "0"))
SECONDS = 20
LONGEST = 20_000

STAGES = [
    Written("base", "Pretrain", "checkpoint", {}, {"tokens": 5.0}, 3, (0.2, 0.2)),
    Written("zero", "GRPO", "checkpoint", {"start": ["base"]}, {"tokens": 5.0}, 3, (0.9, 0.8)),
    Written("exam", "Evaluate", "results", {"checkpoints": ["base", "zero"]}),
]


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Raises TimeoutError where the block takes longer."""

    def stop(number: int, frame: object) -> None:
        raise TimeoutError(f"still at work after {seconds} s")

    earlier = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, earlier)


def check_each(kind: str, attempt: Callable[[Random], object]) -> None:
    """Makes the attempt with each seed: it succeeds or raises InputError with a message that can be read."""
    for seed in range(SEED, SEED + MUTATIONS):
        began = time.monotonic()
        try:
            with within(SECONDS):
                attempt(Random(f"{kind} {seed}"))
        except InputError as error:
            again = f"HOSTILE_SEED={seed} HOSTILE_MUTATIONS=1 ({kind})"
            assert len(str(error)) < LONGEST and time.monotonic() - began < SECONDS, again
        except Exception as error:
            error.add_note(f"HOSTILE_SEED={seed} HOSTILE_MUTATIONS=1 makes it again ({kind})")
            raise


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
    record.write_text(json.dumps(content))
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
                show_rollouts(console, found, choose(found, Selection(limit=4)))
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


CONFIGS = Path(__file__).parents[1] / "models/parity"


@pytest.mark.parametrize("family", ["llama3", "gemma2", "deepseek_v3"])
def test_model_configs(tmp_path: Path, family: str):
    whole = (CONFIGS / family / "config.json").read_bytes()

    def attempt(random: Random) -> None:
        (tmp_path / "config.json").write_bytes(damaged_json(random, whole))
        parameter_count(build_model(read_config(tmp_path)))

    check_each(f"config of {family}", attempt)


def test_tokenizers(tmp_path: Path):
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=270, special_tokens=["<|end|>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(["a b c d"] * 5, trainer)
    whole = {"tokenizer.json": tokenizer.to_str().encode(), "tokenizer_config.json": b'{"eos_token": "<|end|>"}'}

    def attempt(random: Random) -> None:
        damaged = random.choice(list(whole))
        for name, content in whole.items():
            (tmp_path / name).write_bytes(damaged_json(random, content) if name == damaged else content)
        load_tokenizer(tmp_path).encode("a b c")

    check_each("tokenizer", attempt)


def test_safetensors(tmp_path: Path):
    file = tmp_path / "model.safetensors"
    write_file(file, {"a": np.zeros((2, 3), np.float32), "b": np.ones(4, np.float32)})
    whole = file.read_bytes()

    def attempt(random: Random) -> None:
        file.write_bytes(damaged_bytes(random, whole))
        read_folder(tmp_path)

    check_each("safetensors", attempt)


def test_gguf(tmp_path: Path):
    file = tmp_path / "a.gguf"
    gguf_file.write(file)
    whole = file.read_bytes()

    def attempt(random: Random) -> None:
        file.write_bytes(damaged_bytes(random, whole[:5000]) + whole[5000:])
        find(file)

    check_each("gguf", attempt)


ROWS = [{"prompt": f"{number} + 1", "completion": f"{number + 1}é"} for number in range(40)]


def read_documents(source: DocumentSource) -> None:
    """The first documents and the last one."""
    documents = source.documents(ChatFormat(), 0)
    for index in {0, len(documents) // 2, len(documents) - 1}:
        documents[index]


def test_parquet(tmp_path: Path):
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), file, row_group_size=16)
    whole = file.read_bytes()

    def attempt(random: Random) -> None:
        damaged = damaged_bytes(random, whole)
        # The library counts on the marks at both ends; the footer before the last one says all else.
        file.write_bytes(damaged if random.random() < 0.5 else damaged_footer(random, whole))
        read_documents(Parquet(str(file)))

    check_each("parquet", attempt)


def damaged_footer(random: Random, whole: bytes) -> bytes:
    """A Parquet file whose footer, of a right length, is damaged."""
    start = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    footer = damaged_bytes(random, whole[start:-8])
    return whole[:start] + footer + len(footer).to_bytes(4, "little") + whole[-4:]


def test_tfds_folders(tmp_path: Path):
    columns = {"prompt": tfds.features.Text(), "completion": tfds.features.Text()}
    write_records(tmp_path / "set", ROWS, columns)
    whole = {path: path.read_bytes() for path in (tmp_path / "set").iterdir()}
    described = [path for path in whole if path.suffix == ".json"]

    def attempt(random: Random) -> None:
        damaged = random.choice([*described, *whole])
        change = damaged_json if damaged in described else damaged_bytes
        damaged.write_bytes(change(random, whole[damaged]))
        try:
            read_documents(Tfds(str(tmp_path / "set")))
        finally:
            damaged.write_bytes(whole[damaged])

    check_each("tfds", attempt)


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
