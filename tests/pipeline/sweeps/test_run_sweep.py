import contextlib
import json
import os
import re

import pytest

from reasoning.core.artifact import sealed
from reasoning.core.errors import InputError
from reasoning.core.files import lock
from reasoning.core.object_store import open_store
from reasoning.experiment.reader import read_experiment
from reasoning.pipeline.run import RunOptions, Watcher
from reasoning.pipeline.run_experiment import run_experiment
from reasoning.pipeline.sweeps.run_sweep import preview_sweep, run_sweep
from reasoning.training.preemption import Interrupted
from reasoning.use.run_folder import open_run
from tests.support.object_server import serving
from tests.support.small_sweep import SweepProject

EACH = "sweep.each = {'zero.rate': (0.9,), 'width': (2,)}\nsweep.seeds = 2\n"


class Swept(SweepProject):
    """The project, and what a sweep of it says."""

    def __init__(self, folder):
        super().__init__(folder)
        self.notes, self.warnings, self.calls = [], [], []

    @contextlib.contextmanager
    def watch(self):
        yield Watcher(lambda progress: None, self.notes.append, self.warnings.append)

    def sweep(self, sweep=EACH, *overrides, **options):
        self.write(sweep)
        self.notes, self.warnings, self.calls = [], [], []
        return run_sweep(read_experiment(self.file, overrides), self.out, self.watch, self.calls.append, **options)

    def states(self, found):
        return {(run.arm, run.seed): found.state(run) for run in found.plan.runs}


@pytest.fixture
def project(tmp_path):
    return Swept(tmp_path)


def artifacts(project):
    return {path.parent.name: path.read_bytes() for path in project.out.glob("artifacts/*/artifact.json")}


def left(project):
    return {str(path.relative_to(project.out)): path.read_bytes() for path in project.out.rglob("*.json")}


def test_equal_stages_run_once_and_every_run_knows_its_own(project):
    found = project.sweep()
    ran = project.ran()
    # A corpus with a fixed seed is one for all; a base is one a seed; what the varied settings reach is one a run.
    assert {
        stage: len([line for line in ran if line.startswith(stage)]) for stage in ("corpus", "base", "zero", "exam")
    } == {
        "corpus": 1,
        "base": 2,
        "zero": 6,
        "exam": 6,
    }
    assert len(ran) == len(set(map(str, (project.out / "artifacts").iterdir()))) == 15
    assert set(project.states(found).values()) == {"finished"} and len(project.calls) == 6
    runs = {(run.arm, run.seed): open_run(found.run_path(run)) for run in found.plan.runs}
    assert list(runs["baseline", 0]) == ["corpus", "base", "zero", "exam"]
    assert runs["baseline", 0]["base"].hash == runs["width=2", 0]["base"].hash != runs["baseline", 1]["base"].hash
    for (arm, seed), run in runs.items():
        settings = run["zero"].record()["settings"]
        assert (settings["rate"], settings["width"]) == (0.9 if "rate" in arm else 0.5, 2 if "width" in arm else 1)
        assert run["zero"].record()["seed"] == seed


def test_a_run_alone_gives_what_it_gives_in_a_sweep(project, tmp_path):
    found = project.sweep()
    run = next(run for run in found.plan.runs if (run.arm, run.seed) == ("width=2", 1))
    alone = SweepProject(tmp_path)
    with project.watch() as watcher:
        made = run_experiment(
            read_experiment(alone.file, ["width=2", "run.seed=1"]), tmp_path / "alone", watcher, RunOptions()
        )
    assert {name: (one.hash, one.results) for name, one in made.items()} == {
        name: (one.hash, one.results)
        for name, one in zip(open_run(found.run_path(run)), open_run(found.run_path(run)).artifacts(), strict=True)
    }
    assert (tmp_path / "alone" / "resolved.gin").read_text() == (found.run_path(run) / "resolved.gin").read_text()


def test_the_same_sweep_again_runs_nothing_and_touches_no_artifact(project):
    project.sweep()
    project.ran()
    before = artifacts(project)
    project.sweep()
    assert project.ran() == [] and project.warnings == [] and artifacts(project) == before
    kernels, *notes = project.notes
    assert (
        kernels == "kernels: plain XLA, a chunk of tokens at a time; attention: plain XLA, up to 128 tokens at a time"
    )
    assert [note.endswith(f"already finished (run {number} of 6)") for number, note in enumerate(notes, 1)] == [
        True
    ] * 6


def test_runs_side_by_side_do_each_stage_once_and_leave_the_bytes_of_one_after_the_other(project):
    project.sweep(EACH, "zero.bad_rate=0.9")
    ran, alone = sorted(project.ran()), left(project)
    project.out.rename(project.folder / "alone")
    found = project.sweep(EACH, "zero.bad_rate=0.9", jobs=3)
    assert sorted(project.ran()) == ran and len(project.calls) == 5  # a finished run each, and the failed ones
    assert left(project) == alone
    states = project.states(found)
    assert [key for key, state in states.items() if state == "failed"] == [("zero.rate=0.9", 0), ("zero.rate=0.9", 1)]
    assert "the last 10 updates were not finite" in found.failure(found.plan.runs[1])
    assert sum("this run failed, the others go on" in warning for warning in project.warnings) == 2
    assert {note.partition(": ")[0] for note in project.notes[1:]} >= {"baseline, seed 0", "width=2, seed 1"}
    assert set(project.states(project.sweep(jobs=3)).values()) == {"finished"}


def test_runs_side_by_side_stop_with_everything_saved(project):
    project.trap.write_text("3 SIGTERM")
    with pytest.raises(Interrupted):
        project.sweep(jobs=2)
    project.ran()
    assert set(project.states(project.sweep(jobs=2)).values()) == {"finished"}


def test_a_failed_run_is_recorded_and_the_others_go_on(project):
    found = project.sweep(EACH, "zero.bad_rate=0.9")
    states = project.states(found)
    assert [key for key, state in states.items() if state == "failed"] == [("zero.rate=0.9", 0), ("zero.rate=0.9", 1)]
    assert list(states.values()).count("finished") == 4
    failed = next(run for run in found.plan.runs if run.arm == "zero.rate=0.9")
    assert found.failure(failed) == "stage zero: the last 10 updates were not finite"
    first, _ = project.warnings
    assert first.startswith("this run failed, the others go on:\nstage zero: the last 10 updates were not finite\n")
    assert "stage zero stopped; its folder" in first and "Traceback" not in first


def test_an_error_of_the_program_is_recorded_by_its_kind_with_its_traceback_shown(project, monkeypatch):
    def mistaken(path):
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr("reasoning.pipeline.stage_work.read_artifact", mistaken)
    found = project.sweep("sweep.seeds = 1")
    assert found.failure(found.plan.runs[0]) == "RuntimeError: a mistake of ours"
    (warning,) = project.warnings
    assert "Traceback" in warning and warning.count("RuntimeError: a mistake") == 1


def test_an_error_of_a_users_code_is_recorded_in_one_line_with_its_place_and_gone_once_the_run_is_done(project):
    project.trap.write_text("3 raise")
    found = project.sweep()
    failed = found.plan.runs[0]
    told = rf"{project.module}.note raised RuntimeError: fell into the trap \({project.module}.py:\d+ in note: raise .*"
    assert re.fullmatch(told, found.failure(failed))
    (warning,) = project.warnings
    assert "Traceback" not in warning and warning.count("RuntimeError: fell into") == 1
    # zero of another arm is another stage, so it went on; what failed goes on with the next command.
    assert list(project.states(found).values()).count("finished") == 5
    project.ran()
    assert set(project.states(project.sweep()).values()) == {"finished"}
    assert project.ran() == ["zero 0", "exam 0"] and not (found.run_path(failed) / "failed.json").exists()


def test_a_stage_that_failed_for_one_run_is_not_tried_again_for_the_next(project):
    found = project.sweep(EACH, "base.bad_rate=0.5")
    assert project.ran() == ["corpus 0", "base 0", "base 1"]
    assert set(project.states(found).values()) == {"failed"}
    assert found.failure(found.plan.runs[1]).startswith(
        "base failed for another run too: stage zero".replace("zero", "base")
    )


def test_a_signal_stops_the_whole_sweep_after_saving_and_the_same_command_goes_on(project):
    project.trap.write_text("4 SIGTERM")
    with pytest.raises(Interrupted) as caught:
        project.sweep()
    assert caught.value.exit_code == 143
    assert project.ran() == ["corpus 0", "base 0", "zero 0", "exam 0"]
    project.sweep()
    assert len(project.ran()) == 12  # the exam that the signal ended is asked again


def test_a_folder_in_use_is_refused(project):
    with lock(project.out), pytest.raises(InputError, match=f"in use by process {os.getpid()}"):
        project.sweep()


def test_a_changed_file_is_announced_once_with_the_fields_and_nothing_is_overwritten(project):
    project.sweep()
    before = artifacts(project)
    project.ran()
    project.sweep("sweep.each = {'width': (2,)}\nsweep.seeds = 2\n", "base.rate=0.7")
    strangers, changed = project.warnings
    assert "not in this sweep; they stay: zero.rate=0.9" in strangers
    assert (
        "base: rate 0.5 -> 0.7" in changed
        and "zero: made from" in changed
        and "corpus" not in changed.split("zero:")[0]
    )
    assert project.ran().count("base 0") == 1
    after = artifacts(project)
    assert {name: after[name] for name in before} == before
    assert (project.out / "sweep.1.gin").exists()


def test_results_of_other_code_are_told_once_or_refused_before_anything_runs(project):
    found = project.sweep()
    record = next(project.out.glob("artifacts/corpus-*")) / "artifact.json"
    content = json.loads(record.read_text())
    content["environments"][-1]["code"]["source"] = "0" * 64
    record.write_text(json.dumps(content))
    project.ran()
    project.sweep()
    (warning,) = project.warnings
    assert "corpus made under other versions" in warning and "another --out does them anew" in warning
    with pytest.raises(InputError, match="--strict-code refuses that: run them anew with another --out"):
        project.sweep(strict_code=True)
    assert project.ran() == [] and project.calls == [] and set(project.states(found).values()) == {"finished"}


def test_a_full_disk_ends_the_sweep(project, monkeypatch):
    monkeypatch.setattr(
        "reasoning.pipeline.sweeps.run_sweep.run_stages", lambda *arguments: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(OSError, match="full"):
        project.sweep()


def test_a_run_of_a_sweep_opens_by_itself_also_after_the_folder_has_moved(project):
    project.sweep()
    project.out.rename(project.folder / "moved")
    run = open_run(project.folder / "moved" / "arms" / "width=2" / "seed-1")
    assert run["zero"].record()["settings"]["width"] == 2


def test_a_preview_counts_what_is_shared_and_what_is_done_and_writes_nothing(project):
    project.write(EACH)
    counted = {
        stage.stage: (stage.runs, stage.different, stage.finished)
        for stage in preview_sweep(read_experiment(project.file), project.out).stages
    }
    assert counted == {"corpus": (6, 1, 0), "base": (6, 2, 0), "zero": (6, 6, 0), "exam": (6, 6, 0)}
    assert not project.out.exists()
    project.sweep("sweep.seeds = 1")
    project.write(EACH)
    finished = [stage.finished for stage in preview_sweep(read_experiment(project.file), project.out).stages]
    assert finished == [1, 1, 1, 1]


def test_a_sweep_that_does_not_fit_this_machine_is_previewed_with_the_reason_and_not_run(project):
    big = "mesh = @core.mesh.MeshShape\nmesh.data = 64\nrun.mesh = mesh\n"
    project.write(EACH + big)
    found = preview_sweep(read_experiment(project.file), project.out)
    assert "64 devices" in found.obstacle and [stage.different for stage in found.stages] == [1, 2, 6, 6]
    with pytest.raises(InputError, match="64 devices"):
        project.sweep(EACH + big)
    assert not project.out.exists()


def test_a_sweep_refuses_a_damaged_stage_before_any_run_and_goes_on_once_it_is_set_aside(project):
    project.sweep()
    project.ran()
    [corpus] = project.out.glob("artifacts/corpus-*")
    record = json.loads((corpus / "artifact.json").read_text())
    assert record["files"] == {}
    (corpus / "artifact.json").write_text(json.dumps(sealed(record | {"files": {"rows": 5}})))
    message = r"damaged \w+: \S*/corpus-\w+/rows does not exist; move \S+ away and run the same command$"
    for attempt in (project.sweep, lambda: preview_sweep(read_experiment(project.file, ()), project.out)):
        with pytest.raises(InputError, match=message):
            attempt()
    assert project.ran() == []
    corpus.rename(project.out / "aside")
    project.sweep()
    assert [line.split()[0] for line in project.ran()] == ["corpus"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_sweep_is_copied_each_stage_once_and_goes_on_elsewhere(project, tmp_path, jobs):
    with serving() as server:
        url = f"{server.make_bucket(f'sweep{jobs}')}/all"
        project.sweep(store=url, jobs=jobs)
        assert sorted(project.ran()) and project.warnings == []
        finished = {path.parent.name for path in project.out.glob("artifacts/*/artifact.json")}
        store = open_store(url)
        listed = {name for name in store.changed("artifacts") if name.count("/") == 1}
        assert listed == {f"artifacts/{name}.json" for name in finished}
        assert store.changed("owners") == {} == store.changed("begun")
        before = artifacts(project)
        project.out = tmp_path / "elsewhere"
        project.sweep(store=url)
        assert project.ran() == [] and artifacts(project) == before
