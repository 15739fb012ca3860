from reasoning.report.document import Paragraph, Section, filled


def test_an_anchor_is_a_name_without_spaces():
    assert Section("How to read this", ()).anchor == "how-to-read-this"


def test_sections_that_hold_nothing_are_left_out():
    kept = Section("A", (Paragraph("a"),))
    assert filled((kept, Section("B", ()))) == (kept,)
