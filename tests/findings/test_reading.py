from dataclasses import replace

import pytest
from written_run import with_results, with_samples

from reasoning.evaluation.results import Replies, Score
from reasoning.findings.reading import amplification, words


def told(facts, subject="zero beside base (exam)"):
    return dict(amplification(facts, facts.evaluations[0]))[subject]


def with_scores(facts, **scores):
    """The facts with other scores of base in the exam."""
    exam = facts.evaluations[0]
    base = {name.replace("_", "/", 1): Score(value, value - 0.01, value + 0.01, 60) for name, value in scores.items()}
    checkpoints = {**exam.checkpoints, "base": base}
    return replace(facts, evaluations=(with_results(exam, checkpoints=checkpoints, styles={}),))


def test_every_word_of_the_tables_is_explained():
    said = " ".join(name for name, _ in words())
    assert all(word in said for word in ("pass@1", "majority", "strict", "lenient", "greedy", "95 % interval"))


def test_the_first_model_that_rewards_alone_made_and_the_last_of_its_line_are_compared(facts):
    subjects = [subject for subject, _ in amplification(facts, facts.evaluations[0])]
    assert subjects == ["zero beside base (exam)", "r1 beside base (exam)", "guessing (exam)"]
    subjects = [subject for subject, _ in amplification(facts, facts.evaluations[1])]
    assert subjects == ["llama_weak_rl beside llama_weak (students)", "guessing (students)"]


def changed(facts, name, **record):
    """The facts with another record of a stage."""
    stages = (replace(each, record={**each.record, **record}) if each.name == name else each for each in facts.stages)
    return replace(facts, stages=tuple(stages))


def test_a_base_that_was_brought_in_is_a_base_like_one_that_was_trained(facts):
    brought = changed(facts, "base", learns_from="nothing")
    assert not brought.taught("base") and brought.is_root("base")
    assert amplification(brought, facts.evaluations[0]) == amplification(facts, facts.evaluations[0])


def test_what_rewards_trained_is_seen_from_what_a_stage_says_and_not_from_its_class(facts):
    stages = tuple(replace(each, kind="PPO") if each.kind == "GRPO" else each for each in facts.stages)
    exam = facts.evaluations[0]
    assert amplification(replace(facts, stages=stages), exam) == amplification(facts, exam)
    silent = changed(facts, "zero", learns_from="nothing")
    assert [subject for subject, _ in amplification(silent, exam)][0] == "r1 beside base (exam)"


def test_a_method_of_the_user_s_own_is_one_of_the_ways_in_which_the_base_was_asked(facts):
    found = with_scores(facts, **{"lenient_pass@1": 0.3, "lenient_best_of_8": 0.6})
    text = told(found)
    assert "by other ways of asking: best_of_8 0.60" in text and "Up to 0.60 (base's best_of_8)" in text


def test_what_the_base_reaches_by_votes_and_prompts_is_stated(facts):
    text = told(facts)
    score = facts.evaluations[0].results.styles["base"]["think"]["lenient/pass@1"]
    assert f"pass@1 in the prompt style ‘think’ {score.mean:.2f}" in text and "majority@8" in text and "pass@8" in text


def test_a_vote_of_the_base_bounds_what_can_be_its_own_mode(facts):
    found = with_scores(facts, **{"lenient_pass@1": 0.3, "lenient_pass@16": 1.0, "lenient_majority@16": 0.7})
    assert "Up to 0.70 (base's majority@16) zero's pass@1 can be a mode that base held" in told(found)


def test_a_vote_that_reaches_the_trained_model_leaves_nothing_to_explain(facts):
    found = with_scores(facts, **{"lenient_pass@1": 0.3, "lenient_majority@16": 0.95})
    text = told(found)
    assert "base's majority@16 is no lower than zero's pass@1: all of that can be a mode" in text
    assert "Up to" not in text


def test_where_no_gain_is_shown_none_is_explained(facts):
    samples = facts.evaluations[0].samples
    text = told(with_samples(facts, {**samples, "zero": samples["base"]}))
    assert "So zero shows no gain over base here" in text
    assert "Up to" not in text and "new" not in text and "Replies" in text


def answered(number, *values):
    size = len(values)
    row = Replies(
        checkpoint="", problem=number, question=f"q{number}", answer=str(number), kind="sum", method="samples",
        texts=("",) * size, lengths=(1,) * size, log_probs=(0.0,) * size, answers=(None,) * size,
        scores={"lenient": values},
    )  # fmt: skip
    return [row]


def test_new_is_what_no_sample_of_the_base_solved(facts):
    base = {k: answered(k, float(k > 2), 0.0) for k in range(10)}
    zero = {k: answered(k, 1.0, float(k != 1)) for k in range(10)}
    found = with_samples(facts, {"base": base, "zero": zero})
    assert "None of base's 2 samples solved 3 of the 10 problems; on these zero has pass@1 0.83" in told(found)


def test_where_the_base_solved_everything_once_nothing_new_is_claimed(facts):
    base = {k: answered(k, 1.0, 0.0) for k in range(10)}
    zero = {k: answered(k, 1.0, 1.0) for k in range(10)}
    found = with_samples(facts, {"base": base, "zero": zero})
    assert "solved by at least one of base's 2 samples, so these samples show nothing in zero" in told(found)


def test_examples_on_the_way_are_named(facts):
    assert "On the way to r1 came sft2, taught by examples" in told(facts, "r1 beside base (exam)")
    assert "taught by examples" not in told(facts)


def test_what_a_blind_guess_reaches_is_counted(facts):
    text = told(facts, "guessing (exam)")
    assert "Only 10 different answers are right" in text and "right in 0.10 of all tries" in text
    assert f"at least once in 8 tries in {1 - 0.9**8:.2f}" in text


def test_an_exam_without_pass_at_1_is_left_alone(facts):
    assert amplification(facts, with_scores(facts, tagged=0.5).evaluations[0]) == ()
    bare = with_results(facts.evaluations[0], checkpoints={"base": {"tagged": Score(0.1, 0.0, 0.2, 8)}})
    assert amplification(facts, bare) == ()


@pytest.mark.parametrize("name", ["zero", "r1"])
def test_lengths_before_and_after_are_stated(facts, name):
    assert f"Replies: 22.9 (22.4–23.4) tokens in base, 22.9 (22.4–23.4) in {name}." in told(
        facts, f"{name} beside base (exam)"
    )
