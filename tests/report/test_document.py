from reasoning.report.document import Section


def test_an_anchor_is_a_name_without_spaces():
    assert Section("How to read this", ()).anchor == "how-to-read-this"
