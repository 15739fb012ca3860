import json
from dataclasses import replace
from pathlib import Path

import pytest

from reasoning.cli.main import main
from reasoning.evaluation.results import SAMPLES, Replies, write_samples
from reasoning.experiment.reader import read_experiment
from reasoning.pipeline.folder import Entry, unfinished_folder, write_run

ROW = Replies(
    checkpoint="zero", problem=0, question="1+1?", answer="2", kind="sums", method="samples", texts=(), lengths=(),
    log_probs=(), answers=(), scores={},
)  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with a stage that trained, one that collected, one at work and one that hasn't begun."""
    entries = [Entry(name, f"artifacts/{name}-{'0' * 12}", "0" * 64, name in ("base", "cold_data"))
               for name in ("base", "cold_data", "cot_data", "r1")]  # fmt: skip
    write_run(tmp_path, entries)
    (tmp_path / entries[0].folder).mkdir(parents=True)
    for place, text in ((tmp_path / entries[1].folder, "two"), (tmp_path / "artifacts", "")):
        place.mkdir(exist_ok=True)
        if text:
            write(place, [text, "zwei", *map(str, range(30))])
    place = unfinished_folder(tmp_path / "artifacts", "cot_data", "0" * 64)
    place.mkdir()
    write(place, ["at work"])
    return tmp_path


def write(folder: Path, texts: list[str]) -> None:
    count = len(texts)
    row = replace(
        ROW,
        texts=tuple(texts),
        lengths=(3,) * count,
        log_probs=(-1.0,) * count,
        answers=(None,) * count,
        scores={"strict": (1.0,) * count},
        kept=(True,) * count,
    )
    write_samples(folder / SAMPLES, [row])


def test_it_prints_the_first_sixteen_completions_and_a_group_whole(run: Path, capsys: pytest.CaptureFixture):
    assert main(["show", str(run / "cold_data")]) == 0
    text = capsys.readouterr().out
    assert "    two\n" in text and text.count("kept  (strict 1)") == 16
    assert main(["show", str(run / "cold_data"), "--group", "0"]) == 0
    assert capsys.readouterr().out.count("kept  (strict 1)") == 32
    assert main(["show", str(run / "cold_data"), "--group", "0", "--limit", "2"]) == 0
    assert capsys.readouterr().out.count("kept  (strict 1)") == 2


def test_a_stage_at_work_can_be_read(run: Path, capsys: pytest.CaptureFixture):
    assert main(["show", f"{run}/cot_data/"]) == 0
    assert "at work" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("", "is a run; name one of its stages too: stages with something to show are cold_data, cot_data"),
        ("colddata", "has no stage 'colddata'; stages with something to show are cold_data, cot_data"),
        ("base", "stage base has nothing to show; stages with something to show are"),
        ("r1", "stage r1 has nothing to show yet; stages with something to show are"),
        ("artifacts/base", "artifacts is not a run's folder (it has no run.json); write RUN/STAGE"),
        ("cold_data --limit 0", "--limit 0 shows nothing"),
    ],
)
def test_what_can_not_be_shown_is_one_clear_line(run: Path, capsys: pytest.CaptureFixture, stage: str, message: str):
    assert main(["show", *f"{run}/{stage}".split()]) == 2
    assert message in capsys.readouterr().err


def test_what_is_left_of_a_damaged_stage_is_shown_with_a_warning(run: Path, capsys: pytest.CaptureFixture):
    [place] = (run / "artifacts").glob("cold_data-*")
    (place / "artifact.json").write_text('{"files": {"samples.jsonl": 1, "records/a": 2}}')
    assert main(["show", f"{run}/cold_data"]) == 0
    shown = capsys.readouterr()
    assert "    two\n" in shown.out
    assert "warning: stage cold_data is damaged:" in shown.err and "records/a does not exist" in shown.err


def test_rows_are_shown_from_a_file_before_and_from_a_run_after(corpus, tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "corpus-000000000000").symlink_to(corpus.path)
    write_run(tmp_path, [Entry("corpus", "artifacts/corpus-000000000000", "0" * 64, True)])
    assert main(["show", f"{tmp_path}/corpus", "--limit", "2"]) == 0
    said = capsys.readouterr().out
    assert "corpus: the first 2 of" in said and "row 1:" in said and "row 2:" not in said and "⟦" in said

    file = tmp_path / "rows.gin"
    (tmp_path / "talk.jsonl").write_text('{"question": "one?", "answer": "1"}\n' * 3)
    file.write_text(
        f"lines = @data.sources.Jsonl\nlines.path = '{tmp_path}/talk.jsonl'\nwords = @stages.TokenizerTraining\n"
        "words.kind = 'char'\nwords.size = 40\nrows = @stages.Prepare\nrows.sources = (lines,)\n"
        "rows.tokenizer = words\nrows.length = 16\n"
    )
    assert main(["show", str(file), "rows", "rows.length=32", "--limit", "1"]) == 0
    said = capsys.readouterr().out
    assert "<|user|>one?<|assistant|>⟦1<|end|>⟧" in said and said.count("row ") == 1
    turns = [("user", "one?"), ("assistant", "1"), ("user", "two?"), ("assistant", "2")]
    messages = [{"role": role, "content": text} for role, text in turns]
    messages[1]["train"] = False
    (tmp_path / "talk.jsonl").write_text(
        json.dumps({"messages": messages}) + "\n{\n" + json.dumps({"messages": messages[2:]})
    )
    assert main(["show", str(file), "rows", "rows.length=64", "rows.skip_bad=1"]) == 0
    said = capsys.readouterr().out
    assert "<|user|>one?<|assistant|>1<|end|><|user|>two?<|assistant|>⟦2<|end|>⟧" in said and said.count("⟦2") == 2
    assert main(["show", str(file), "rows", "rows.length=64"]) == 2
    assert f"error: {tmp_path}/talk.jsonl:2: not JSON" in capsys.readouterr().err
    assert main(["show", str(file), "words"]) == 2
    assert "words packs no rows; those that do are rows" in capsys.readouterr().err


def test_questions_of_the_runs_exams_are_left_out_of_shown_rows_too(tmp_path: Path, capsys: pytest.CaptureFixture):
    experiment = Path(__file__).resolve().parents[2] / "experiments" / "r1_miniature.gin"
    asked = read_experiment(experiment).part("quiz_problems").problems()[0].question
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in ("kept", f"{asked} 5")))
    (tmp_path / "rows.gin").write_text(
        f"include '{experiment}'\nlines = @data.sources.Jsonl\nlines.path = '{tmp_path}/a.jsonl'\n"
        "rows = corpus\nrows.sources = (lines,)\nrun.stages = (rows, exam)\n"
    )
    assert main(["show", str(tmp_path / "rows.gin"), "rows"]) == 0
    said = capsys.readouterr().out
    assert "kept" in said and asked not in said
    assert main(["show", str(tmp_path / "rows.gin"), "rows", "run.stages=(rows,)"]) == 0
    assert asked in capsys.readouterr().out
