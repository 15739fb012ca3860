import json

import pytest

from reasoning.core.errors import InputError
from reasoning.pipeline.folder import read_run
from reasoning.training.preemption import Interrupted
from reasoning.use.run_folder import open_run


def contents(folder):
    """Every file under a folder with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_only_refuses_a_stage_whose_parents_are_missing_and_says_which(kit):
    kit.run(kit.chain(), only=("base",))
    kit.story_of_failure(kit.chain(), InputError, "--only exam: it is made from zero, not finished", only=("exam",))


def test_another_configuration_is_announced_with_its_differences_and_overwrites_nothing(kit):
    kit.run(kit.chain(), resolved="a\n")
    before = contents(kit.out / "artifacts")
    story = kit.run(kit.chain(zero={"number": 5}), resolved="b\n")
    assert story.worked() == ["zero", "exam"]
    (warning,) = story.warnings
    assert "zero: number 1 -> 5" in warning and "exam: made from base, zero" in warning and "base:" not in warning
    after = contents(kit.out / "artifacts")
    assert {name: after[name] for name in before} == before
    assert (kit.out / "resolved.gin").read_text().endswith("\nb\n")
    assert (kit.out / "resolved.1.gin").read_text().endswith("\na\n")
    assert open_run(kit.out)["exam"].results == {"sum": 8}


def test_a_run_with_fewer_stages_says_which_are_out_and_that_nothing_is_done_anew(kit):
    first = kit.run(kit.chain())
    before = contents(kit.out / "artifacts")
    story = kit.run(type(kit.chain())(stages=(first_stage(kit.chain()),)))
    (warning,) = story.warnings
    assert story.worked() == [] and "nothing is done anew" in warning and "no longer in the run: zero, exam" in warning
    assert contents(kit.out / "artifacts") == before and list(open_run(kit.out)) == ["base"]
    again = kit.run(kit.chain())
    assert again.worked() == [] and again.warnings == [] and again.artifacts == first.artifacts


def first_stage(run):
    """The stage from which all others of a chain are made."""
    return run.stages[0].others[0]


def test_a_stage_that_only_leaves_out_is_not_announced_as_done_anew(kit):
    kit.run(kit.chain())
    changed = kit.chain(base={"number": 2}, zero={"number": 5})
    (warning,) = kit.run(changed, only=("base",)).warnings
    assert "base: number 1 -> 2" in warning and "zero" not in warning and "exam" not in warning


def test_going_back_to_an_earlier_configuration_runs_nothing(kit):
    first = kit.run(kit.chain())
    kit.run(kit.chain(zero={"number": 5}))
    again = kit.run(kit.chain())
    assert again.worked() == [] and again.warnings == []
    assert again.artifacts == first.artifacts
    assert tuple(first.artifacts.values()) == open_run(kit.out).artifacts()


def test_a_changed_configuration_is_noticed_even_if_nothing_had_finished(kit, tmp_path):
    trap = tmp_path / "trap"
    trap.touch()
    kit.story_of_failure(kit.chain(base={"trap": str(trap)}), InputError)
    (warning,) = kit.run(kit.chain(base={"number": 2})).warnings
    assert "base: number 1 -> 2" in warning


def edit_record(artifact_folder, edit):
    file = artifact_folder / "artifact.json"
    record = json.loads(file.read_text())
    edit(record["environments"][-1])
    file.write_text(json.dumps(record))


def test_results_of_other_versions_are_used_with_a_warning_or_refused(kit):
    story = kit.run(kit.chain())

    def older(environment):
        environment["libraries"]["jax"] = "0.1"
        environment["code"] |= {"source": "0" * 64, "commit": "f" * 40, "changed": False}

    edit_record(story.artifacts["base"].path, older)
    again = kit.run(kit.chain())
    (warning,) = again.warnings
    assert again.worked() == [] and "base made under other versions" in warning
    assert "jax 0.1 -> " in warning and "code ffffffffff -> " in warning
    kit.story_of_failure(kit.chain(), InputError, "--strict-code refuses that: .*--from base", strict_code=True)
    assert kit.run(kit.chain(), strict_code=True, again="base").worked() == ["base", "zero", "exam"]


def test_a_resume_under_other_versions_is_recorded(kit):
    stopped = type(kit.chain())(stages=(kit.Count("count", stop_at=3),))
    kit.story_of_failure(stopped, Interrupted)
    (partial,) = (kit.out / "artifacts").glob(".count-*")
    edit_record(partial, lambda environment: environment["libraries"].update(jax="0.1"))
    run = type(stopped)(stages=(kit.Count("count"),))
    kit.story_of_failure(run, InputError, "jax 0.1 -> ", strict_code=True)
    story = kit.run(run)
    assert ["jax 0.1" in warning for warning in story.warnings] == [True]
    recorded = story.artifacts["count"].record()["environments"]
    assert len(recorded) == 2 and recorded[0]["libraries"]["jax"] == "0.1"


def test_results_that_are_not_finite_are_refused(kit):
    class Diverged(kit.Add):
        def run(self, inputs, out, context):
            return type(super().run(inputs, out, context))("results", {"loss": float("nan")})

    kit.story_of_failure(type(kit.chain())(stages=(Diverged("base"),)), ValueError, "base ended with .*loss")


DAMAGED = ["{", "{}", "3", '{"environments": 3}', '{"environments": []}', '{"environments": [3]}']


def test_what_a_killed_process_was_writing_is_gone_after_the_next_run(kit):
    kit.run(kit.chain())
    left = kit.out / "artifacts" / ".run.json.999999999.partial"
    left.write_text("half")
    kit.run(kit.chain())
    assert not left.exists()


@pytest.mark.parametrize("damage", [*DAMAGED, '{"environments": [{"device": 3}]}'])
def test_an_unfinished_stage_with_a_damaged_record_is_refused_by_file(kit, damage):
    stopped = type(kit.chain())(stages=(kit.Count("count", stop_at=3),))
    kit.story_of_failure(stopped, Interrupted)
    (partial,) = (kit.out / "artifacts").glob(".count-*")
    (partial / "artifact.json").write_text(damage)
    kit.story_of_failure(stopped, InputError, r"count-.*artifact\.json")


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_text("")])
def test_a_finished_stage_that_lost_files_is_refused_before_any_work_and_made_anew_as_the_line_says(kit, damage):
    story = kit.run(kit.chain(zero={"number": 5}))
    damage(story.artifacts["base"].path / "sum")
    changed = kit.chain(zero={"number": 6})
    message = r"damaged results: \S*/base-\w+/sum .*; move \S+ away .*\(--from base makes stage base anew\)"
    kit.story_of_failure(changed, InputError, message)
    kit.story_of_failure(changed, InputError, message, only=("zero",))
    kit.story_of_failure(changed, InputError, message, again="zero")
    assert read_run(kit.out)[1].hash == story.artifacts["zero"].hash
    story.artifacts["base"].path.rename(kit.out / "aside")
    again = kit.run(kit.chain(zero={"number": 5}))
    assert again.worked() == ["base"] and again.artifacts == story.artifacts
    damage(story.artifacts["base"].path / "sum")
    assert kit.run(changed, again="base").worked() == ["base", "zero", "exam"]


def test_the_files_that_are_listed_change_no_hash_and_an_artifact_without_a_list_is_used(kit):
    story = kit.run(kit.chain())
    file = story.artifacts["base"].path / "artifact.json"
    record = json.loads(file.read_text())
    assert {name: told["bytes"] for name, told in record.pop("files").items()} == {"begun": 3, "sum": 1}
    del record["record_sha256"]
    file.write_text(json.dumps(record))
    assert kit.run(kit.chain()).artifacts == story.artifacts
