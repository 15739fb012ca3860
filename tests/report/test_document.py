from reasoning.report.document import Panel, Section, anchor


def test_an_anchor_is_a_name_without_spaces():
    assert Section("How to read this", ()).anchor == "how-to-read-this" == anchor(part="How to read this")
    assert Panel("zero", "zero (GRPO)", ()).anchor == "stage-zero" == anchor("zero") and anchor() == ""
