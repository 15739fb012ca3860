from written_run import with_samples

from reasoning.findings.evaluations import difference
from reasoning.findings.numbers import points
from reasoning.findings.pairs import CheckpointPair, main_differences
from reasoning.findings.verdict import steps_of, verdict, what_ran


def changes_of(facts):
    return {each.stage: main_differences(facts, each) for each in facts.evaluations}


def test_the_verdict_is_the_paired_difference_of_the_first_exams_ends(facts):
    exam = facts.evaluations[0]
    gain, ends = points(difference(exam.samples, "r1", "base", "lenient"))
    before, after = (exam.checkpoints[name]["lenient/pass@1"].mean for name in ("base", "r1"))
    assert verdict(facts, changes_of(facts)) == (
        f"It learnt: lenient pass@1 from {before:.2f} (base) to {after:.2f} (r1); {gain} points, 95 % interval {ends}."
    )


def test_without_samples_the_means_are_told_without_an_interval(facts):
    untold = with_samples(facts, {})
    assert {exam.stage for exam, _, _ in steps_of(untold, changes_of(untold))} == {"students"}
    assert verdict(untold, changes_of(untold)).endswith("(r1), without a paired interval.")


def test_a_loss_is_called_one(facts):
    exam = facts.evaluations[0]
    worse = with_samples(facts, dict(exam.samples) | {"r1": exam.samples["base"], "base": exam.samples["r1"]})
    assert verdict(worse, changes_of(worse)).startswith("It got worse: ")


def test_steps_are_of_checkpoints_beside_what_they_started_from(facts):
    found = {(exam.stage, pair): change for exam, pair, change in steps_of(facts, changes_of(facts))}
    pair = CheckpointPair("zero", "base")
    alone = difference(facts.evaluations[0].samples, "zero", "base", "lenient")
    assert (found["exam", pair].mean, found["exam", pair].low) == (alone.mean, alone.low)
    assert ("exam", CheckpointPair("r1", "base")) not in found  # it started from sft2


def test_what_ran_is_counted_with_its_seed_and_devices(facts):
    assert what_ran(facts) == "20 stages, 12 checkpoints, 2 exams; seed 0; 2 × cpu"
