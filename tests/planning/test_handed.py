"""A run is handed to another process as it was read there; what differs from the file is sent, and no more."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from reasoning.core.errors import InputError
from reasoning.experiment.reader import read_experiment
from reasoning.pipeline.run_experiment import run_of
from reasoning.planning.changes import with_fields, with_stage
from reasoning.planning.handed import Source, fingerprint, hand, take

MODULE = "planned_user_module"
FILE = f"""
base = @stages.Pretrained
base.path = 'there'
base.model = @models.presets.SMOLLM2_135M

chains = @tasks.chains.Chains
problems = @tasks.problems.ProblemSet
problems.tasks = (chains,)
problems.split = 'train'
problems.count = 8
optimizer = @training.optimizers.AdamW
optimizer.learning_rate = 1e-3

zero = @stages.GRPO
zero.start = base
zero.problems = problems
zero.optimizer = optimizer
zero.steps = 2
zero.questions = 4
zero.max_new_tokens = 8
zero.rewards = (@{MODULE}.short, @{MODULE}.long)
zero.reward_weights = (1.0, 0.5)

run = @pipeline.Run
run.stages = (zero,)
"""


@pytest.fixture
def source(tmp_path: Path):
    """An experiment with a lambda, and with a function that another function made."""
    (tmp_path / f"{MODULE}.py").write_text(
        "short = lambda completions, **columns: [1.0 for each in completions]\n"
        "def made():\n    def long(completions, **columns):\n        return [0.0 for each in completions]\n"
        "    return long\nlong = made()\n"
    )
    file = tmp_path / "mine.gin"
    file.write_text(FILE)
    experiment = read_experiment(file, ("zero.samples=8",))
    yield run_of(experiment), Source.of(experiment, ("zero.samples=8",))
    sys.modules.pop(MODULE, None)


def test_what_can_not_be_pickled_is_taken_from_the_file(source):
    run, read = source
    again = take(read, hand(run, run))
    assert again == run and again is not run and again.stages[0].rewards[0] is run.stages[0].rewards[0]


def test_changed_settings_are_sent_and_all_else_is_what_was_read(source):
    run, read = source
    for changed in (with_fields(run, {"remat": "dots"}), with_stage(run, "zero", {"microbatches": 4})):
        assert changed != run and take(read, hand(run, changed)) == changed
    assert len(hand(run, run)) < 40 < len(hand(run, with_stage(run, "zero", {"microbatches": 4})))


def test_a_file_that_was_changed_meanwhile_is_refused(source):
    run, read = source
    handed = hand(run, run)
    read.path.write_text(FILE.replace("0.5", "0.25"))
    with pytest.raises(InputError, match=r"mine\.gin.* was changed while it was planned; plan again"):
        take(read, handed)


def test_a_change_that_can_not_be_pickled_is_one_line(source):
    run, _ = source
    [zero] = run.stages
    other = replace(zero, rewards=(lambda completions, **columns: [],), reward_weights=(1.0,))
    with pytest.raises(InputError, match="handed to another process: .*lambda.*; plan without --quick"):
        hand(run, replace(run, stages=(other,)))


def test_a_fingerprint_is_that_of_settings_and_of_files_that_they_name(source, tmp_path, monkeypatch):
    run, read = source
    monkeypatch.chdir(tmp_path)
    mine = fingerprint(read, run, run)
    again = read_experiment(read.path, read.overrides)
    assert mine == fingerprint(Source.of(again, read.overrides), run_of(again), run_of(again)) != ""
    changed = with_stage(run, "zero", {"microbatches": 4})
    assert fingerprint(read, run, changed) not in (mine, fingerprint(read, run, with_fields(run, {"remat": "dots"})))
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "tokenizer.json").write_text("{}")  # base.path
    assert fingerprint(read, run, run) != mine
