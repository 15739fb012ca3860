from dataclasses import replace

import pytest

from reasoning.report.pairs import Pair, ancestors, by_kind, by_score, main_difference, pairs, sources


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
    names, rows = by_score(facts, evaluation)
    assert names == ("strict", "lenient", "tagged")
    for row in rows:
        for item in row[:2]:
            means = [
                evaluation.checkpoints[name][f"{item.name}/pass@1"].mean
                for name in (item.pair.later, item.pair.earlier)
            ]
            assert item.interval.mean == pytest.approx(means[0] - means[1])


def test_kinds_are_compared_by_the_main_score_and_average_to_all_problems(facts):
    score, kinds, rows = by_kind(facts, facts.evaluations[0])
    assert score == "lenient/pass@1" and kinds == ("chains", "cups")
    whole = main_difference(facts, facts.evaluations[0], Pair("zero", "base"))
    assert sum(item.interval.mean for item in rows[0]) / 2 == pytest.approx(whole.mean)


def test_without_samples_there_are_no_rows(facts):
    bare = replace(facts, samples={})
    assert by_score(bare, bare.evaluations[0]) == ((), [])
    assert by_kind(bare, bare.evaluations[0])[2] == []
    assert main_difference(bare, bare.evaluations[0], Pair("zero", "base")) is None
