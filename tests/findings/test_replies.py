from dataclasses import replace

from written_run import with_results

from reasoning.findings.replies import chosen_checkpoints, probes_by_problem


def test_three_checkpoints_at_most_stand_side_by_side(facts):
    evaluation = facts.evaluations[0]
    assert chosen_checkpoints(facts, evaluation) == ("base", "zero", "r1")
    two = with_results(evaluation, checkpoints={name: evaluation.checkpoints[name] for name in ("base", "cold")})
    assert chosen_checkpoints(facts, two) == ("base", "cold")


def test_probes_are_kept_by_problem_and_rows_of_another_form_are_left_out(facts):
    zero = facts.stage("zero")
    found = probes_by_problem(replace(zero, probes=(*zero.probes, {"step": 1}, {**zero.probes[0], "text": None})))
    assert [[row["step"] for row in rows] for rows in found.values()] == [[0, 15, 30]] * 3
