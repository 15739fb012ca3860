import os
import signal
import time

import jax
import pytest

from reasoning.core.errors import InputError
from reasoning.core.files import lock
from reasoning.core.mesh import MeshShape
from reasoning.training import sinks
from reasoning.training.preemption import Interrupted
from reasoning.use.run_folder import open_run


def contents(folder):
    """Every file under a folder with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_does_its_stages_parents_first_and_leaves_an_artifact_each(kit):
    story = kit.run(kit.chain())
    assert story.worked() == ["base", "zero", "exam"]
    assert {name: dict(found.results) for name, found in story.artifacts.items()} == {
        "base": {"sum": 1},
        "zero": {"sum": 2},
        "exam": {"sum": 4},
    }
    folders = sorted(path.name for path in (kit.out / "artifacts").iterdir())
    assert folders == sorted(f"{name}-{found.hash[:12]}" for name, found in story.artifacts.items())


def test_the_record_says_where_an_artifact_came_from(kit):
    story = kit.run(kit.chain(seed=3))
    record = story.artifacts["exam"].record()
    assert record["parents"] == {"others": [story.artifacts["base"].hash, story.artifacts["zero"].hash]}
    assert record["settings"]["others"] == ["base", "zero"]
    assert (record["seed"], record["mesh"]["data"], record["kind"]) == (3, jax.device_count(), "results")
    (environment,) = record["environments"]
    assert environment["libraries"]["jax"] and environment["code"]["source"] and environment["device"]["kind"]


def test_the_same_command_again_skips_everything_and_touches_no_artifact(kit):
    kit.run(kit.chain())
    before = contents(kit.out / "artifacts")
    story = kit.run(kit.chain())
    assert story.worked() == []
    skipped = [f"{name}: already finished" for name in ("base", "zero", "exam")]
    kernels = "kernels: plain XLA, a chunk of tokens at a time; attention: plain XLA, up to 128 tokens at a time"
    assert story.notes == [kernels, *skipped]
    assert story.warnings == []
    assert contents(kit.out / "artifacts") == before


def test_a_change_of_logging_and_checkpoint_settings_runs_nothing_anew(kit):
    kit.run(kit.chain())
    story = kit.run(kit.chain(zero={"log_every": 3}, checkpoint_every=7))
    assert story.worked() == [] and story.warnings == []


def test_a_stage_that_fails_keeps_its_folder_and_the_same_command_goes_on(kit, tmp_path):
    trap = tmp_path / "trap"
    trap.touch()
    run = kit.chain(zero={"trap": str(trap)})
    story = kit.story_of_failure(
        run, InputError, r"Add.run raised RuntimeError: trapped \(conftest.py:\d+ in run: raise"
    )
    assert isinstance(story.error.__cause__, RuntimeError)
    (note,) = story.error.__notes__
    assert "stage zero stopped; its folder" in note and "the same command goes on" in note
    assert "a setting must change" in note and "starts anew" in note
    assert [path.name[:6] for path in (kit.out / "artifacts").glob(".*")] == [".zero-"]
    trap.unlink()
    story = kit.run(run)
    assert story.worked() == ["zero", "exam"]
    assert "zero: goes on from where it was cut off" in story.notes
    assert not list((kit.out / "artifacts").glob(".*"))


def test_an_interrupted_stage_goes_on_where_it_was(kit):
    run = kit.chain()
    run = type(run)(stages=(kit.Count("count", steps=5, stop_at=3),))
    story = kit.story_of_failure(run, Interrupted)
    assert story.error.exit_code == 143
    again = kit.run(type(run)(stages=(kit.Count("count", steps=5),)))
    assert [report.step for report in again.reports] == [4, 5]


def test_a_signal_between_stages_stops_before_the_next_one(kit):
    class Signalling(kit.Add):
        def run(self, inputs, out, context):
            context.stop(1)
            outcome = super().run(inputs, out, context)
            os.kill(os.getpid(), signal.SIGTERM)
            return outcome

    base = Signalling("base")
    run = type(kit.chain())(stages=(kit.Add("zero", start=base),))
    story = kit.story_of_failure(run, Interrupted)
    assert story.worked() == ["base"] and list(open_run(kit.out)) == ["base"]
    assert kit.run(run).worked() == ["zero"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_stage_that_never_asks_where_it_stands(kit, number):
    class Deaf(kit.Add):
        def run(self, inputs, out, context):
            if not (out / "begun").exists():
                (out / "begun").touch()
                os.kill(os.getpid(), number)
                time.sleep(3)  # where Python drops what the handler raises, the signal comes again after a second
                (out / "deaf").touch()
            return super().run(inputs, out, context)

    run = type(kit.chain())(stages=(Deaf("base"),))
    before = signal.signal(number, signal.default_int_handler)  # whoever started the tests may have it ignored
    try:
        kit.story_of_failure(run, Interrupted)
    finally:
        signal.signal(number, before)
    assert not list(open_run(kit.out))
    [base] = kit.run(run).artifacts.values()
    assert (base.path / "begun").exists() and not (base.path / "deaf").exists()


def test_only_runs_what_it_names(kit):
    story = kit.run(kit.chain(), only=("base",))
    assert story.worked() == ["base"] and list(story.artifacts) == ["base"]
    assert kit.run(kit.chain(), only=("zero",)).worked() == ["zero"]
    assert kit.run(kit.chain(), only=("exam", "zero")).worked() == ["exam"]


def test_from_does_a_stage_and_its_descendants_anew_and_keeps_what_was_there(kit):
    kit.run(kit.chain())
    before = contents(kit.out / "artifacts")
    story = kit.run(kit.chain(), again="zero")
    assert story.worked() == ["zero", "exam"]
    kept = contents(kit.out / "artifacts" / "earlier")
    moved = {name for name in before if not name.startswith("base")}
    assert {name.replace(".1/", "/"): data for name, data in kept.items()} == {name: before[name] for name in moved}
    kit.run(kit.chain(), again="exam")
    assert len(list((kit.out / "artifacts" / "earlier").glob("exam-*"))) == 2


def test_from_also_drops_unfinished_work(kit):
    stopped = type(kit.chain())(stages=(kit.Count("count", stop_at=3),))
    kit.story_of_failure(stopped, Interrupted)
    story = kit.run(type(stopped)(stages=(kit.Count("count"),)), again="count")
    assert [report.step for report in story.reports] == [1, 2, 3, 4]


@pytest.mark.parametrize("choice", [{"only": ("bsae",)}, {"again": "bsae"}])
def test_a_mistyped_stage_is_refused_before_any_file_is_written(kit, choice):
    kit.story_of_failure(kit.chain(), InputError, "did you mean 'base'", **choice)
    assert not kit.out.exists()


def test_only_and_from_together_are_refused(kit):
    kit.story_of_failure(kit.chain(), InputError, "exclude each other", only=("exam",), again="zero")


def test_a_folder_in_use_is_refused(kit):
    with lock(kit.out):
        kit.story_of_failure(kit.chain(), InputError, f"in use by process {os.getpid()}")
    assert kit.run(kit.chain()).worked() == ["base", "zero", "exam"]


def test_a_mesh_that_does_not_fit_is_refused_before_any_file_is_written(kit):
    kit.story_of_failure(kit.chain(mesh=MeshShape(data=64)), InputError, "64 devices")
    assert not kit.out.exists()


def test_a_place_for_metrics_whose_package_is_missing_is_refused_before_any_file_is_written(kit, monkeypatch):
    monkeypatch.setattr(sinks, "_PACKAGES", {"wandb": "no_such_package"})
    kit.story_of_failure(kit.chain(log_to=("wandb",)), InputError, r"pip install 'reasoning-jax\[wandb\]'")
    assert not kit.out.exists()


def test_two_runs_leave_the_same_bytes(kit, tmp_path):
    kit.run(kit.chain())
    other = type(kit)(tmp_path / "other")
    other.run(other.chain())
    assert contents(kit.out) == contents(other.out)


def test_kernels_that_the_devices_can_not_run_are_refused_before_any_work(kit):
    story = kit.story_of_failure(kit.chain(kernels="pallas_tpu"), InputError, "the mesh's devices are cpu")
    assert story.worked() == [] and not kit.out.exists()
