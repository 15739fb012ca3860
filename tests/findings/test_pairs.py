from dataclasses import replace

import pytest

from reasoning.core.statistics import together
from reasoning.findings.evaluations import difference
from reasoning.findings.pairs import (
    CheckpointPair,
    amplified_pairs,
    ancestors,
    comparisons,
    differences,
    main_difference,
    pairs,
    sources,
)


def test_a_checkpoint_comes_from_its_start_its_teacher_and_who_wrote_its_data(facts):
    assert sources(facts, "zero") == ("base",)
    assert sources(facts, "cold") == ("base", "zero")
    assert sources(facts, "llama_weak_kl") == ("llama_weak", "r1", "rl1")
    assert sources(facts, "base") == () == sources(facts, "unknown")
    assert ancestors(facts, "r1") == {"sft2", "base", "rl1", "cold", "zero"}


def test_pairs_are_each_checkpoint_with_its_sources_then_the_last_with_all_its_ancestors(facts):
    found = pairs(facts, facts.evaluations[0])
    expected = ["zero base", "cold base", "cold zero", "rl1 cold", "sft2 base", "sft2 rl1", "r1 sft2"]
    expected += ["r1 base", "r1 zero", "r1 cold", "r1 rl1"]
    assert [f"{pair.later} {pair.earlier}" for pair in found] == expected


def test_only_checkpoints_of_the_same_exam_are_paired(facts):
    names = set(facts.evaluations[1].checkpoints)
    assert {name for pair in pairs(facts, facts.evaluations[1]) for name in (pair.later, pair.earlier)} <= names


def test_a_row_of_differences_agrees_with_the_means_of_the_table(facts):
    evaluation = facts.evaluations[0]
    names, _, rows = differences(facts, evaluation)
    assert names == ("strict", "lenient", "tagged")
    for pair, row in rows.items():
        for name, mean in zip(names[:2], row, strict=False):
            means = [evaluation.checkpoints[each][f"{name}/pass@1"].mean for each in (pair.later, pair.earlier)]
            assert mean.mean == pytest.approx(means[0] - means[1])


def test_kinds_are_compared_by_the_main_score_and_average_to_all_problems(facts):
    names, kinds, rows = differences(facts, facts.evaluations[0])
    assert kinds == ("chains", "cups")
    whole = main_difference(facts, facts.evaluations[0], CheckpointPair("zero", "base"))
    by_kind = rows[CheckpointPair("zero", "base")][len(names) :]
    assert sum(mean.mean for mean in by_kind) / 2 == pytest.approx(whole.mean)


def test_without_samples_there_are_no_rows(facts):
    bare = replace(facts.evaluations[0], samples={})
    assert differences(facts, bare) == ((), (), {})
    assert main_difference(facts, bare, CheckpointPair("zero", "base")) is None


def test_all_that_one_evaluation_compares_is_corrected_together(facts):
    evaluation = facts.evaluations[0]
    names, kinds, rows = differences(facts, evaluation)
    columns = [(name,) for name in names] + [("lenient", kind) for kind in kinds]
    # Here every pair that sentences compare stands in the table too.
    assert {*amplified_pairs(facts, evaluation)} <= {*rows}
    alone = [difference(evaluation.samples, pair.later, pair.earlier, *column) for pair in rows for column in columns]
    assert [each for row in rows.values() for each in row] == list(together(alone))
    assert comparisons(facts, evaluation) == len(alone) == 55
    assert sum(each.excludes(0) for each in alone) > sum(each.clear for row in rows.values() for each in row)


def test_sentences_and_table_claim_the_same(facts):
    evaluation = facts.evaluations[0]
    names, _, rows = differences(facts, evaluation)
    for pair, row in rows.items():
        assert main_difference(facts, evaluation, pair) == row[names.index("lenient")]


def test_an_exam_of_single_replies_is_compared_by_them(facts):
    sampled = facts.evaluations[0]
    scores = {
        name: {"lenient/greedy": own["lenient/pass@1"], "strict/greedy": own["strict/pass@1"]}
        for name, own in sampled.checkpoints.items()
    }

    def alone(row):
        firsts = {name: values[:1] for name, values in row.scores.items()}
        return replace(row, method="greedy", texts=row.texts[:1], scores=firsts)

    samples = {
        name: {number: [alone(rows[0])] for number, rows in answered.items()}
        for name, answered in sampled.samples.items()
    }
    evaluation = replace(sampled, results=replace(sampled.results, checkpoints=scores), samples=samples)
    pair = CheckpointPair("zero", "base")
    found = main_difference(facts, evaluation, pair)
    assert found is not None
    assert found.mean == pytest.approx(difference(samples, "zero", "base", "lenient").mean)
    # Replies of another method than the score's say nothing of it.
    other = {
        name: {number: [replace(rows[0], method="beam")] for number, rows in each.items()}
        for name, each in samples.items()
    }
    assert main_difference(facts, replace(evaluation, samples=other), pair) is None
