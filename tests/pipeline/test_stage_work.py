"""What a stage is given, and what becomes of what it returns."""

from dataclasses import dataclass

from reasoning.core.artifact import Outcome
from reasoning.core.errors import InputError
from reasoning.pipeline import stage_work
from reasoning.training.sinks import Labels


@dataclass(frozen=True)
class Logged:
    """Sends its metrics wherever the run says, as a stage that learns does."""

    name: str = ""

    def run(self, inputs, out, context):
        context.open_sink(self.name, 5)
        return Outcome("results")


def test_a_stage_opens_places_for_its_metrics_in_the_runs_folder_under_its_own_name_and_hash(kit, monkeypatch):
    opened = []
    monkeypatch.setattr(
        stage_work, "open_sinks", lambda names, labels, warn, first: opened.append((names, labels, first))
    )
    found = kit.run(type(kit.chain())(stages=(Logged("base"),), log_to=("wandb",))).artifacts
    assert opened == [(("wandb",), Labels(kit.out, "base", found["base"].hash), 5)]


def test_a_stage_sees_its_own_seed_where_it_has_one_and_else_the_runs(kit):
    stages = (kit.Seeded("corpus", seed=7), kit.Seeded("base"))
    found = kit.run(type(kit.chain())(stages=stages, seed=3)).artifacts
    assert (found["corpus"].results, found["base"].results) == ({"seed": 7}, {"seed": 3})
    assert kit.run(type(kit.chain())(stages=stages, seed=4)).artifacts["corpus"] == found["corpus"]


def test_a_stage_that_returns_no_outcome_is_told_by_its_class(kit):
    class Forgetful(kit.Add):
        def run(self, inputs, out, context):
            super().run(inputs, out, context)

    run = type(kit.chain())(stages=(Forgetful("base"),))
    kit.story_of_failure(run, InputError, r"stage base: .*Forgetful.run .* gave None; it must return an Outcome")
    assert not list((kit.out / "artifacts").glob("base-*"))
