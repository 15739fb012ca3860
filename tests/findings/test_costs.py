from reasoning.findings.costs import total_sentence, totals


def test_totals_add_what_stages_counted_and_leave_out_packed_corpora(facts):
    learnt = sum(stage.results["tokens"] for stage in facts.stages if stage.holds == "checkpoint")
    collected = 25 * (1024 + 5120)
    assert totals(facts)["tokens"] == learnt + collected


def test_totals_are_told_in_a_sentence(facts):
    assert total_sentence(facts).startswith("In all 7.69 M tokens and 15.7 T FLOPs")
