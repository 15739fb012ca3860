from dataclasses import replace

from written_run import with_samples

from reasoning.findings.costs import total_sentence
from reasoning.findings.evaluations import difference
from reasoning.findings.notes import notes
from reasoning.findings.numbers import points
from reasoning.findings.pairs import main_differences


def told(facts):
    """The notes by what they are about."""
    changes = {each.stage: main_differences(facts, each) for each in facts.evaluations}
    return {note.subject: note for note in notes(facts, changes)}


def test_what_changed_most_is_the_largest_claimed_step_from_a_start_and_names_its_exam(facts):
    gains = {
        (stage.name, exam.stage): difference(exam.samples, stage.name, stage.starts[0], "lenient")
        for exam in facts.evaluations
        for stage in facts.stages
        if stage.starts and {stage.name, stage.starts[0]} <= set(exam.samples)
    }
    most, exam = max(gains, key=lambda key: abs(gains[key].mean))
    note, gain = told(facts)["Changed most"], points(gains[most, exam])[0]
    assert note.stage == most and note.text.startswith(f"{most}, {gain} points of lenient pass@1 in {exam} (")
    alone = replace(facts, evaluations=facts.evaluations[:1])
    assert " in exam" not in told(alone)["Changed most"].text


def test_a_step_that_one_exam_is_clear_about_is_not_among_those_of_which_nothing_can_be_told(facts):
    first = facts.evaluations[0]
    same = with_samples(facts, {name: first.samples["base"] for name in first.samples})
    assert "Changed most" not in told(replace(same, evaluations=same.evaluations[:1]))
    unclear = told(replace(same, evaluations=same.evaluations[:1]))["Can't tell"]
    others = (
        sum(bool(stage.starts and {stage.name, stage.starts[0]} <= set(first.samples)) for stage in facts.stages) - 1
    )
    assert unclear.part == "Differences" and unclear.text == f"whether zero changed over base ({others} more)"
    again = replace(same, evaluations=(*same.evaluations[:1], replace(first, stage="again")))
    assert "zero changed" not in told(again)["Can't tell"].text


def test_where_to_look_next_is_at_what_is_missing_first_then_at_what_was_written(facts):
    assert told(facts)["Look next"].part == "Replies side by side"
    missing = told(replace(facts, missing=("x", "y")))["Look next"]
    assert missing.text == "at what is missing (2)" and missing.part == "At a glance"
    bare = told(replace(facts, evaluations=()))["Look next"]
    assert bare.stage == facts.stages[-1].name


def test_the_cost_comes_last(facts):
    *_, (subject, cost) = told(facts).items()
    assert subject == "Cost" and (cost.text, cost.part) == (total_sentence(facts), "Totals")
