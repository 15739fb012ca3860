import json
from dataclasses import dataclass, field

import pytest

from reasoning.core.artifact import NOT_HASHED, Outcome
from reasoning.core.contents import ABSENT
from reasoning.core.errors import InputError
from reasoning.data.sources import Jsonl, Parquet, TextFolder, Tfds
from reasoning.pipeline.contents import contents_of, read_memory, write_memory
from reasoning.pipeline.graph import build_graph
from reasoning.pipeline.preview import preview
from reasoning.pipeline.run import Run
from reasoning.stages.pretrained import Pretrained
from reasoning.stages.stage import Stage
from reasoning.tasks.question_files import QuestionFile, QuestionRecords


@dataclass(frozen=True)
class Corpus:
    """A user's own settings that read a file."""

    path: str

    def reads(self):
        return (self.path,)


@dataclass(frozen=True)
class Size:
    """Measures a file; writes to it where it says so, as another program might meanwhile."""

    name: str = ""
    source: object = None
    shown: object = field(default=None, metadata=NOT_HASHED)
    start: Stage | None = None
    spoils: str = ""

    def run(self, inputs, out, context):
        if self.spoils:
            with open(self.spoils, "a") as file:
                file.write("more")
        return Outcome("results", {"size": 0})


def run_of(path, **settings):
    return Run(stages=(Size("last", start=Size("first", source=Corpus(str(path)), **settings)),))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "data"
    path.write_text("one")
    return path


def test_every_setting_of_ours_that_names_files_says_so(tmp_path):
    (tmp_path / "set").mkdir()
    sources = (
        Jsonl("a.jsonl"),
        Parquet("b/*.parquet"),
        TextFolder("c[1]"),
        Tfds(str(tmp_path / "set")),
        Tfds("named"),
        QuestionFile(path="d", test_path="e"),
        QuestionRecords(builder="named"),
    )
    run = Run(stages=(Size("only", source=sources, shown=Jsonl("not counted"), start=Pretrained(name="m", path="f")),))
    found = contents_of(build_graph(run.stages), {})
    assert found["only"].keys() == set(["a.jsonl", "b/*.parquet", "c[[]1]/*.txt", "d", "e", str(tmp_path / "set")])
    assert found["m"] == {"f": ABSENT}


def test_other_content_at_the_same_path_is_done_anew_and_so_is_what_is_made_from_it(kit, file):
    first = kit.run(run_of(file))
    assert "first: already finished" in kit.run(run_of(file)).notes
    file.write_text("two")
    again = kit.run(run_of(file))
    assert any(f"first: what lies at {file} has changed" in warning for warning in again.warnings)
    assert all(again.artifacts[name].hash != first.artifacts[name].hash for name in ("first", "last"))
    file.write_text("one")
    assert kit.run(run_of(file)).artifacts == first.artifacts


def test_the_record_holds_the_content_of_every_path(kit, file):
    record = json.loads((kit.run(run_of(file)).artifacts["first"].path / "artifact.json").read_text())
    # printf one | sha256sum
    assert record["contents"] == {str(file): "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"}


def test_a_preview_tells_the_content_and_writes_nothing(kit, file):
    stages = preview(run_of(file), kit.out).stages
    assert stages[0].contents[str(file)].startswith("7692c3ad") and stages[1].contents == {}
    assert not kit.out.exists()


def test_a_long_reading_is_announced_by_whatever_reads(kit, file, monkeypatch):
    monkeypatch.setattr("reasoning.core.contents._TOLD_BYTES", 1)
    told = []
    preview(run_of(file), kit.out, note=told.append)
    assert len(told) == 1 and f"at {file} once" in told[0]
    assert any(f"at {file} once" in note for note in kit.run(run_of(file)).notes)


def test_a_file_that_changes_while_its_stage_runs_is_told(kit, file):
    assert f"{file} changed while it ran" in kit.run(run_of(file, spoils=str(file))).warnings[-1]


def test_a_file_that_changes_before_its_stage_begins_stops_the_run(kit, file):
    reader = Size("reader", source=Corpus(str(file)), start=Size("before", spoils=str(file)))
    kit.story_of_failure(Run(stages=(reader,)), InputError, f"stage reader: {file} changed since the run began")
    assert "reader" in kit.run(Run(stages=(reader,))).artifacts


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1, "b": {"stamp": 2}}'])
def test_a_damaged_memory_is_none(tmp_path, text):
    (tmp_path / ".contents.json").write_text(text)
    assert read_memory(tmp_path) == {}
    write_memory(tmp_path, {"a": {"stamp": "s", "content": "c"}})
    assert read_memory(tmp_path) == {"a": {"stamp": "s", "content": "c"}}
