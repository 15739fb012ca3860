"""Replies graded anew: the same rewards give what the run recorded, others what they say, and nothing is changed."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_stages import BASE, early_end, examine, quiz, reinforce, work

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.evaluation.results import SAMPLES, Replies, read_samples, write_samples
from reasoning.experiment.reader import Experiment, read_experiment
from reasoning.experiment.references import References
from reasoning.experiment.text import resolved_text
from reasoning.pipeline.folder import Entry, unfinished_folder, write_run
from reasoning.rewards.accuracy import lenient, strict
from reasoning.rewards.code import Code
from reasoning.rewards.reward import UNGRADED
from reasoning.training.metrics import rollouts_file
from reasoning.use.regrade import named_rewards, regrade, stored_stages

EXPERIMENT = """
lines = @tasks.question_files.QuestionFile
lines.path = '{folder}/lines.jsonl'
lines.test_path = '{folder}/test.jsonl'
lines.columns = plain
lines.name = 'sums'
plain = @tasks.question_files.QuestionColumns
plain.marker = ''
few = @tasks.problems.ProblemSet
few.tasks = (lines,)
few.split = 'train'
few.count = 2
right = @rewards.code.Code
exam = @stages.Evaluate
exam.checkpoints = ()
exam.quiz = quiz
quiz = @evaluation.Exam
quiz.problems = few
quiz.scores = (@rewards.accuracy.strict,)
quiz.max_new_tokens = 8
"""


@pytest.fixture(scope="module")
def trained(base: Artifact, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Experiment]:
    """A run of two steps of reinforcement learning and an exam, with its experiment."""
    folder = tmp_path_factory.mktemp("run")
    zero = reinforce(rewards=(early_end, lenient), reward_weights=(1.0, 1.0), rollouts_every=1)
    exam = examine(BASE, quiz=quiz(scores=(lenient, early_end)))
    work(zero, folder, {"start": base})
    work(exam, folder, {"checkpoints": (base,)})
    write_run(folder, [Entry(name, name, "0" * 64, True) for name in ("zero", "exam")])
    parts = {"zero": zero, "exam": exam}
    (folder / "resolved.gin").write_text(resolved_text(parts, tuple(parts), References()))
    return folder, read_experiment(folder / "resolved.gin")


def bytes_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_rewards_that_a_run_had_give_what_it_recorded_and_the_run_stays_as_it_is(trained):
    run, experiment = trained
    before = bytes_of(run)
    stages = stored_stages(run)
    assert list(stages) == ["zero", "exam"]
    rewards = named_rewards(["tiny_stages.early_end", "@rewards.accuracy.lenient"], experiment)
    for stage, folder in stages.items():
        changes, remarks = regrade(stage, folder, experiment, rewards)
        names = [change.reward for change in changes]
        assert names == sorted(names) and set(names) == {"early_end", "lenient"}
        for change in changes:
            assert change.before == change.after and change.flips == [] and change.ungraded == 0
        assert remarks == ()
    assert bytes_of(run) == before


def test_each_source_has_the_replies_that_were_kept_of_it(trained):
    run, experiment = trained
    stages = stored_stages(run)
    [change], _ = regrade("zero", stages["zero"], experiment, [strict])
    kept = pa.concat_tables([pq.read_table(rollouts_file(stages["zero"], step)) for step in (1, 2)])
    assert (change.source, change.count) == ("zero, steps 1 to 2", len(kept)) and change.before == []
    changes, _ = regrade("exam", stages["exam"], experiment, [lenient])
    rows = read_samples(stages["exam"] / SAMPLES)
    methods = {row.method for row in rows}
    assert {change.source for change in changes} == {f"base, {method}" for method in methods}
    assert sum(change.count for change in changes) == sum(len(row.texts) for row in rows)


def test_a_stage_at_work_has_replies_too_and_one_that_has_not_begun_none(tmp_path: Path):
    write_run(tmp_path, [Entry(name, f"artifacts/{name}-000000000000", "0" * 64, False) for name in ("zero", "exam")])
    place = unfinished_folder(tmp_path / "artifacts", "zero", "0" * 64)
    file = rollouts_file(place, 1)
    file.parent.mkdir(parents=True)
    pq.write_table(pa.table({"step": [1]}), file)
    assert stored_stages(tmp_path) == {"zero": place}


def test_what_changed_is_counted_and_shown_with_its_reply(trained, tmp_path: Path):
    run, experiment = trained
    table = pq.read_table(rollouts_file(run / "zero", 1))
    old = table["rewards/lenient"].to_pylist()
    planted = [1 - old[0], 1 - old[1], *old[2:-1], None]
    file = rollouts_file(tmp_path, 1)
    file.parent.mkdir()
    place = table.column_names.index("rewards/lenient")
    pq.write_table(table.set_column(place, "rewards/lenient", pa.array(planted, pa.float64())), file)
    [change], _ = regrade("zero", tmp_path, experiment, [lenient])
    assert [(flip.before, flip.value) for flip in change.flips] == [(1 - old[0], old[0]), (1 - old[1], old[1])]
    assert [flip.text for flip in change.flips] == table["completion"].to_pylist()[:2]
    assert change.up() == sum(old[:2]) and change.down() == 2 - sum(old[:2])
    assert change.after == old and len(change.before) == len(old) - 1


@pytest.fixture
def planted(tmp_path: Path) -> Callable[..., Experiment]:
    """A run whose exam kept three replies to two sums, and its experiment."""

    def write(first: int = 0) -> Experiment:
        rows = [{"question": f"{n}+1?", "answer": f"{n + 1}"} for n in (first, first + 1)]
        (tmp_path / "lines.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        experiment = tmp_path / "resolved.gin"
        experiment.write_text(EXPERIMENT.format(folder=tmp_path))
        row = Replies(
            checkpoint="zero", problem=0, question="0+1?", answer="1", kind="sums", method="samples", texts=("1", "2"),
            lengths=(2, 8), log_probs=(-1.0, -1.0), answers=("1", None), scores={"lenient": (1.0, None)},
        )  # fmt: skip
        second = replace(row, question="1+1?", answer="2", texts=("2",), lengths=(8,), log_probs=(-1.0,),
                         answers=("2",), scores={"lenient": (0.0,)})  # fmt: skip
        write_samples(tmp_path / SAMPLES, [row, second])
        return read_experiment(experiment)

    return write


def test_a_reply_as_long_as_the_limit_and_without_an_answer_was_cut_off(planted, tmp_path: Path):
    [change], _ = regrade("exam", tmp_path, planted(), [early_end])
    assert change.after == [1.0, 0.0, 1.0]


def test_replies_that_nobody_can_grade_and_those_that_a_reward_does_not_apply_to_are_told_apart(planted, tmp_path):
    def picky(completions: list[str], **columns: object) -> list[object]:
        return [UNGRADED, None, 0.5]

    [change], _ = regrade("exam", tmp_path, planted(), [picky])
    assert (change.count, change.ungraded, change.after) == (2, 1, [0.5])


def test_questions_that_are_in_no_problem_set_are_told(planted, tmp_path: Path):
    with pytest.raises(InputError, match=r"1 of its 2 questions.*are in no problem set of .*--experiment FILE.gin"):
        regrade("exam", tmp_path, planted(first=1), [lenient])
    experiment = planted()
    (tmp_path / "lines.jsonl").unlink()
    with pytest.raises(InputError, match=r"2 of its 2 questions.*can't be drawn: there is no file"):
        regrade("exam", tmp_path, experiment, [lenient])


def test_a_reward_that_can_not_judge_the_problems_refuses_them(planted, tmp_path: Path):
    with pytest.raises(InputError, match="it has no column 'tests'"):
        regrade("exam", tmp_path, planted(), [Code()])


def test_names_are_parts_of_the_experiment_or_what_stands_behind_an_at(planted):
    experiment = planted()
    assert named_rewards(["right", "rewards.accuracy.strict"], experiment) == (experiment.parts["right"], strict)
    assert named_rewards(["@rewards.code.Code"], experiment) == (Code(),)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["rewards.accuracy.stric"], "rewards.accuracy has no 'stric'"),
        (["few"], "--rewards few must be"),
        (["stages.GRPO"], "--rewards stages.GRPO is reasoning.stages.grpo.GRPO"),
        (["lenient"], "no part 'lenient'.*is named with its module, as in rewards.accuracy.lenient"),
        (["rewards.kinds.ForKinds"], "--rewards rewards.kinds.ForKinds: it needs reward, kinds; define a part"),
        (["right", "rewards.code.Code"], "--rewards has two functions named code"),
    ],
)
def test_names_of_no_reward_are_refused(planted, names: list[str], message: str):
    with pytest.raises(InputError, match=message):
        named_rewards(names, planted())


def test_a_stage_that_does_not_ask_problems_is_refused(trained, tmp_path: Path):
    experiment = trained[1]
    name = next(name for name, part in experiment.parts.items() if part == BASE)
    with pytest.raises(InputError, match=f"the settings of {name} don't say how it asks"):
        regrade(name, tmp_path, experiment, [strict])
