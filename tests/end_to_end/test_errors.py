"""What users get wrong, each once through the real command: status 2 and one clear message, never a traceback."""

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import jax
import pytest
from small_project import Project, new_project

from reasoning.cli.main import main
from reasoning.core.files import read_json


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch):
    """The command brings its own cache of compiled programs, unless told of one."""
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(jax.config.values["jax_compilation_cache_dir"]))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return new_project(tmp_path)


def complaint(project: Project, capfd: pytest.CaptureFixture, more: Sequence[str] = ()) -> str:
    """What the command says; it must fail with status 2 and one message.

    That is a line ``error: …``, under it at most the places in the file that it is about and where a stage's work lies.
    """
    capfd.readouterr()
    assert main(project.arguments(*more)) == 2
    printed = capfd.readouterr().err
    check_form(printed)
    return printed


def check_form(printed: str) -> None:
    lines = [line for line in printed.splitlines() if not line.startswith(("warning: ", "  "))]
    notes = [line for line in lines if re.fullmatch(r"stage \w+ stopped; its folder \S+ stays: .*", line)]
    assert len(lines) - len(notes) == 1 and len(notes) <= 1, printed
    assert lines[0].startswith("error: ") and "Traceback" not in printed, printed


def line_of(project: Project, text: str) -> int:
    """The number of a line of the file."""
    return 1 + project.file.read_text().splitlines().index(text)


MISTAKES = {
    "an unknown field": ("base.stpes = 3", r"'base' \(stages.Pretrain\) has no field 'stpes'; did you mean 'steps'\?"),
    "a wrong type": ("base.steps = 'three'", r"base.steps must be a whole number, not 'three'"),
    "a value out of range": ("zero.temperature = 0.0", r"zero.temperature must be above 0, not 0.0"),
    "an unknown reference": ("other = @stages.GRP0", r"reasoning.stages has no 'GRP0'; did you mean 'GRPO'\?"),
    "an unknown module": ("other = @nowhere.reward", r"there is no module 'nowhere' in reasoning, in this folder or"),
    "an unknown part": ("zero.start = bse", r"there is no part 'bse' .*; did you mean 'base'\?"),
    "a circle": ("corpus.tokenizer = zero", r"parts need each other in a circle: corpus → zero → base → corpus"),
    "contradicting settings": ("zero.reward_weights = (1.0, 2.0)", r"1 rewards have 2 reward_weights; give one weight"),
    "a text without an end": ("lines.path = 'lines", r"error: .*(quote|text)"),
}


@pytest.mark.parametrize("line, message", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_the_file_is_shown_with_its_line(
    project: Project, capfd: pytest.CaptureFixture, line: str, message: str
):
    project.file.write_text(project.file.read_text() + line + "\n")
    printed = complaint(project, capfd)
    assert re.search(message, printed)
    blamed = line if "reward_weights" not in line else "zero = @stages.GRPO"  # fields that contradict blame their part
    assert f"small.gin:{line_of(project, blamed)}: {blamed}\n" in printed and "^" in printed
    assert not project.out.exists()


SURROUNDINGS = {
    "an unknown field": (["base.stpes=3"], r"no field 'stpes'; did you mean 'steps'\?\n  command line: base.stpes=3"),
    "a stage without its parents": (
        ["--only", "zero"],
        r"--only zero: it is made from base, not finished in .*; add",
    ),
    "an unknown stage": (["--only", "zer"], r"--only zer: the run has no such stage; did you mean 'zero'\?"),
    "a mesh of other devices": (
        ["shape.data=3"],
        r"mesh \(data 3, .*\) needs 3 devices but there are 8; change",
    ),
    "a mesh that divides no heads": (
        ["shape.tensor=4"],
        r"its kv_heads axis has size 2, which mesh axes tensor = 4",
    ),
    "a batch over devices": (
        ["base.batch=12"],
        r"stage base: 12 rows can't be shared evenly by 8 data-parallel",
    ),
    "a batch over microbatches": (["base.microbatches=3"], r"8 rows can't .* by 3 microbatches on 8 .* multiple of 24"),
    "rows over devices": (["zero.questions=3", "zero.samples=2"], r"zero: 3 questions x 2 samples = 6 rows can't be"),
}


@pytest.mark.parametrize("more, message", SURROUNDINGS.values(), ids=SURROUNDINGS)
def test_what_can_not_work_here_is_refused_before_anything_runs(
    project: Project, capfd: pytest.CaptureFixture, more: list[str], message: str
):
    assert re.search(message, complaint(project, capfd, more))
    assert not list(project.out.glob("artifacts/*"))


def test_a_folder_that_is_a_file_is_refused(project: Project, capfd: pytest.CaptureFixture):
    project.out.write_text("my notes")
    assert f"{project.out} can't be used as a folder: File exists; choose another" in complaint(project, capfd)
    assert project.out.read_text() == "my notes"


DATA = {
    "no line": ("", r"lines.jsonl has no documents; take the source out, or fill it"),
    "a line that is no JSON": ('{"text": "1+1"}\n{"text": \n', r"lines.jsonl:2: not JSON: "),
    "a line that is no object": ('{"text": "1+1"}\n["1+1"]\n', r"lines.jsonl:2: expected a JSON object, got list"),
    "a line without a text": (
        '{"text": "1+1"}\n{"txt": "1"}\n',
        r"lines.jsonl:2: columns found: txt; none of the",
    ),
    "a symbol in a text": ('{"text": "a<|end|>"}\n', r"lines.jsonl:1, text: the text holds <\|end\|>"),
}


@pytest.mark.parametrize("content, message", DATA.values(), ids=DATA)
def test_bad_data_is_told_by_file_and_line(project: Project, capfd: pytest.CaptureFixture, content: str, message: str):
    (project.folder / "lines.jsonl").write_text(content)
    assert re.search(message, complaint(project, capfd, ["corpus.sources=(lines,)"]))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A run whose corpus and base are done."""
    made = new_project(tmp_path_factory.mktemp("finished"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(jax.config.values["jax_compilation_cache_dir"]))
        assert main(made.arguments("--only", "corpus,base")) == 0
    return made


@pytest.fixture
def begun(finished: Project, tmp_path: Path) -> Project:
    """A copy of it that a test may spoil."""
    shutil.copytree(finished.out, tmp_path / "out")
    return replace(finished, out=tmp_path / "out")


UNFIT = {
    "a tag that the tokenizer lacks": (["talk.think_open='<reason>'"], r"no single id for '<reason>'; train it with"),
    "a prompt without room": (
        ["zero.max_new_tokens=28"],
        r"'8-1-5\?' of 6 tokens and 28 new ones make 34, more than",
    ),
    "a reward with too few values": (
        ["zero.rewards=(@{module}.too_few,)"],
        r"{module}.too_few \({module}.py:\d+\) returned 1 values for",
    ),
    "a reward of words": (
        ["zero.rewards=(@{module}.words,)"],
        r"{module}.words \({module}.py:\d+\) returned 'good' for the completion '",
    ),
    "a vocabulary too small": (
        ["model.vocabulary=20"],
        r"the tokenizer has 72 ids but the model's vocabulary is 20",
    ),
    "a model too short": (
        ["model.context=16"],
        r"rows of 32 tokens exceed the model's context of 16; prepare",
    ),
}


@pytest.mark.parametrize("more, message", UNFIT.values(), ids=UNFIT)
def test_settings_that_do_not_fit_what_is_there_are_refused_with_the_numbers(
    begun: Project, capfd: pytest.CaptureFixture, more: list[str], message: str
):
    more = [word.replace("{module}", begun.module) for word in more]
    printed = complaint(begun, capfd, more)
    assert re.search(message.replace("{module}", begun.module), printed)
    assert not list(begun.out.glob("artifacts/zero-*"))


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def fill(path: Path, content: bytes) -> None:
    path.write_bytes(content.ljust(path.stat().st_size))


def files_of(artifact: Path) -> list[Path]:
    """All files but the record, and those that a stage in training went on from."""
    found = sorted(path for path in artifact.rglob("*") if path.is_file() and "checkpoints" not in path.parts)
    return [path for path in found if path.name != "artifact.json"]


def forget_files(artifact: Path) -> None:
    record = read_json(artifact / "artifact.json")
    del record["files"], record["record_sha256"]
    (artifact / "artifact.json").write_text(json.dumps(record))


DAMAGE: dict[str, tuple[Callable[[Project], object], list[str], str]] = {
    "a checkpoint cut short": (
        lambda run: cut(run.largest("base", "checkpoint")),
        [],
        r"damaged checkpoint: .*/base-\w+/checkpoint/.* has \d+ bytes, \d+ were written; .* \(--from base makes",
    ),
    "a checkpoint without its manifest": (
        lambda run: (run.artifact("base") / "checkpoint/manifest.json").unlink(),
        [],
        r"checkpoint/manifest.json does not exist; .* \(--from base makes stage base anew\)",
    ),
    "a checkpoint that is gone": (
        lambda run: shutil.rmtree(run.artifact("base") / "checkpoint"),
        [],
        r"base-\w+ has lost its checkpoint; move the folder away and run stage 'base' again",
    ),
    "an artifact without its record": (
        lambda run: (run.artifact("base") / "artifact.json").unlink(),
        [],
        r"artifact.json does not exist; move the folder .*/base-\w+ away, and its stage runs again",
    ),
    "a record cut short": (
        lambda run: cut(run.artifact("base") / "artifact.json"),
        [],
        r"artifact.json:\d+: not JSON: .*; move the folder .*/base-\w+ away, and its stage runs again",
    ),
    "a model without its description": (
        lambda run: (run.artifact("base") / "model.json").unlink(),
        [],
        r"model.json does not exist; .* \(--from base makes stage base anew\)",
    ),
    "a description of no model": (
        lambda run: fill(run.artifact("base") / "model.json", b"{}"),
        [],
        r"damaged checkpoint: \S+/model.json has other content than was written.* \(--from base makes",
    ),
    "a tokenizer of junk": (
        lambda run: fill(run.artifact("base") / "tokenizer.model", b"junk"),
        [],
        r"damaged checkpoint: \S+/tokenizer.model has other content than was written.* \(--from base makes",
    ),
    "rows cut short": (
        lambda run: cut(run.largest("corpus", "records")),
        ["--from", "base"],
        r"damaged records: .*/corpus-\w+/records/.* has \d+ bytes, \d+ were written; .* \(--from corpus makes stage",
    ),
    "half of the files": (
        lambda run: [file.unlink() for file in files_of(run.artifact("base"))[::2]],
        [],
        r"damaged checkpoint: \S+ does not exist; .* \(--from base makes stage base",
    ),
    "a checkpoint of an older version cut short": (
        lambda run: (forget_files(run.artifact("base")), cut(run.largest("base", "checkpoint"))),
        [],
        r"damaged checkpoint: .*/base-\w+/checkpoint/.* has \d+ bytes, \d+ were written; .* \(--from base makes",
    ),
    "rows of an older version cut short": (
        lambda run: (forget_files(run.artifact("corpus")), cut(run.largest("corpus", "records"))),
        ["--from", "base"],
        r"corpus-\w+/records is damaged, .* \(--from corpus makes stage corpus anew\)",
    ),
    "a list of stages cut short": (
        lambda run: cut(run.out / "run.json"),
        [],
        r"out/run.json:\d+: not JSON: .*; remove it and run the experiment again, what is done stays",
    ),
}


@pytest.mark.parametrize("damage, more, message", DAMAGE.values(), ids=DAMAGE)
def test_what_is_damaged_is_named_with_the_way_to_get_it_back(
    begun: Project, capfd: pytest.CaptureFixture, damage: Callable[[Project], object], more: list[str], message: str
):
    damage(begun)
    assert re.search(message, complaint(begun, capfd, more))


def test_the_way_out_that_a_message_names_is_one(begun: Project, capfd: pytest.CaptureFixture):
    for way in ("--from", "moved away"):
        cut(begun.largest("base", "checkpoint"))
        told = complaint(begun, capfd)
        assert "--from base makes stage base anew" in told
        if way == "--from":
            assert main(begun.arguments("--from", "base", "zero.steps=1")) == 0
            continue
        named = re.search(r"move (\S+) away and run the same command", told)
        assert named is not None
        Path(named[1]).rename(begun.out.parent / "away")
        assert main(begun.arguments("zero.steps=1")) == 0


@pytest.mark.slow
def test_a_full_disk_leaves_the_checkpoint_before_and_the_same_command_goes_on(begun: Project, tmp_path: Path):
    full = begun.folder / "full"
    full.write_text(str(begun.out))
    try:
        failed = begun.start()
    finally:
        full.unlink()
    assert failed.returncode == 2, failed.stderr
    check_form(failed.stderr)
    message = r"error: could not save step 4 to \S+: .*File too large; the checkpoint of step 2 is intact; free space"
    assert re.match(message, failed.stderr)
    resumed = begun.start()
    assert resumed.returncode == 0, resumed.stderr
    assert "zero: goes on from where it was cut off" in resumed.stdout and resumed.stderr == ""
    undisturbed = replace(begun, out=tmp_path / "undisturbed")
    shutil.copytree(begun.out, undisturbed.out)
    shutil.rmtree(undisturbed.artifact("zero"))
    assert main(undisturbed.arguments()) == 0
    hashes = [read_json(run.artifact("zero") / "artifact.json")["array_hash"] for run in (begun, undisturbed)]
    assert hashes[0] == hashes[1]


@pytest.mark.slow
def test_a_disk_that_is_full_from_the_start_is_told_in_one_line(project: Project):
    for blocks, message in ((1, "out/resolved.gin can't be written: File too large"), (8, "rows can't be written: .*")):
        failed = project.start("--only", "corpus", limit=blocks)
        assert failed.returncode == 2, failed.stderr
        check_form(failed.stderr)
        assert re.search(rf"{message}.*; free space and run the same command again", failed.stderr)
    assert project.start("--only", "corpus").returncode == 0
