"""A step done again gives the same to the last bit: one that ended a run, and any other from the checkpoint before."""

import math
import shutil
from pathlib import Path

import jax
import pytest

from reasoning.cli.main import main
from reasoning.core.errors import InputError
from reasoning.core.files import read_jsonl
from reasoning.experiment.reader import read_experiment
from reasoning.pipeline.run import RunOptions, Watcher
from reasoning.pipeline.run_experiment import run_experiment
from reasoning.use.replay import equal_bits, find_step, replay

EXPERIMENT = f"""
subject = @tasks.chains.Chains
subject.minimum_operands = 2
subject.maximum_operands = 3
writer = @tasks.worked_corpus.WorkedCorpus
writer.subject = subject
documents = @data.sources.Generated
documents.write = writer
documents.count = 100
vocabulary = @stages.TokenizerTraining
vocabulary.kind = 'char'
vocabulary.size = 80
vocabulary.symbols = @tasks.chains.term_symbols
corpus = @stages.Prepare
corpus.sources = (documents,)
corpus.tokenizer = vocabulary
corpus.length = 32
block = @models.config.BlockKind
stack = @models.config.Stack
stack.count = 1
stack.pattern = (block,)
model = @models.config.ModelConfig
model.vocabulary = 80
model.width = 16
model.heads = 2
model.mlp_width = 32
model.stacks = (stack,)
model.context = 32
optimizer = @training.optimizers.AdamW
optimizer.learning_rate = 1e-2
fast = optimizer
base = @stages.Pretrain
base.model = model
base.data = corpus
base.optimizer = optimizer
base.steps = 3
base.batch = 8
problems = @tasks.problems.ProblemSet
problems.tasks = (subject,)
problems.split = 'train'
problems.count = 8
zero = @stages.GRPO
zero.start = base
zero.problems = problems
zero.rewards = (@rewards.accuracy.strict, @rewards.format.tagged)
zero.reward_weights = (1.0, 0.1)
zero.select = @training.policy_rows.every_group
zero.optimizer = fast
zero.kl_coefficient = 0.1
zero.minibatches = 2
zero.skips_allowed = 1
zero.steps = 4
zero.questions = 4
zero.samples = 4
zero.max_new_tokens = 8
run = @pipeline.Run
run.stages = (zero,)
run.cpu_devices = {jax.device_count()}
run.checkpoint_every = 2
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replay")
    (folder / "tiny.gin").write_text(EXPERIMENT)
    work(folder / "tiny.gin", folder / "out")
    return folder


def work(file: Path, out: Path, *overrides: str) -> None:
    silent = Watcher(lambda progress: None, lambda text: None, lambda text: None)
    run_experiment(read_experiment(file, overrides), out, silent, RunOptions())


def test_a_recorded_step_is_done_again_from_the_checkpoint_before_it(run: Path, capsys: pytest.CaptureFixture[str]):
    before = sorted(run.rglob("*"))
    found = replay(find_step(str(run / "out/zero"), 4))
    rows = read_jsonl(next(run.glob("out/artifacts/zero-*")) / "metrics.jsonl")
    assert found.start == "the checkpoint of step 2" and found.differing == ()
    assert {"loss", "grad_norm", "kl", "reward"} <= set(found.compared)
    assert {name: found.found[name] for name in found.compared} == {n: v for n, v in rows[3].items() if n != "step"}
    assert main(["replay", str(run / "out/base"), "--step", "2"]) == 0
    assert "base, step 2, from the stage's start" in capsys.readouterr().out
    assert sorted(run.rglob("*")) == before


def test_with_another_setting_it_is_another_step(run: Path):
    found = replay(find_step(str(run / "out/zero"), 1), overrides=["fast.learning_rate=5e-3"])
    assert "learning_rate" in found.differing and "reward" not in found.differing


def test_the_step_that_ended_a_run_is_done_again_elsewhere(run: Path, tmp_path: Path):
    with pytest.raises(InputError, match=r"stage zero: the last \d+ updates .* 'reasoning replay .*failed/step_"):
        work(run / "tiny.gin", tmp_path / "out", "fast.learning_rate=1e30", "fast.weight_decay=1")
    shutil.move(tmp_path / "out", tmp_path / "elsewhere")
    asked = find_step(str(tmp_path / "elsewhere"), 0)
    assert asked.failed is not None
    found = replay(asked)
    assert found.differing == () and not math.isfinite(found.found["grad_norm"])
    assert find_step(str(asked.failed), 0).step == asked.step


def test_what_is_not_there_is_said(run: Path, tmp_path: Path):
    with pytest.raises(InputError, match="kept no failed step; name one of its stages too: base, zero"):
        find_step(str(run / "out"), 0)
    with pytest.raises(InputError, match="step 9 of .* was never recorded; there are 4 steps"):
        replay(find_step(str(run / "out/zero"), 9))
    with pytest.raises(InputError, match="has no stage 'exam' that has trained; there are base, zero"):
        find_step(str(run / "out/exam"), 0)
    with pytest.raises(InputError, match=r"is not a run's folder"):
        find_step(str(tmp_path), 0)


def test_not_a_number_equals_itself_and_zeros_differ_by_their_sign():
    assert equal_bits(math.nan, -math.nan) and equal_bits(1.0, 1.0)
    assert not equal_bits(0.0, -0.0) and not equal_bits(math.nan, 1.0)
