import re
import subprocess
import sys

import pytest
from written_run import HOSTILE

from reasoning.findings.graph import Arrow, Box, Workflow
from reasoning.findings.workflow import workflow
from reasoning.report.content import compose
from reasoning.report.document import Cell, Code, Grid, Report, Section
from reasoning.report.markdown import inline, markdown, mermaid


def tables(text):
    """Lines of each table of a text."""
    return [block.splitlines() for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]


def cells(line):
    return re.split(r"(?<!\\)\|", line)[1:-1]


def test_every_row_of_a_table_has_as_many_cells_as_its_heading(facts):
    found = tables(markdown(compose(facts)))
    assert len(found) > 20
    for table in found:
        assert {len(cells(line)) for line in table} == {len(cells(table[0]))}


def test_hostile_text_stays_within_its_cell_and_makes_no_tag_link_or_code():
    text = inline(HOSTILE)
    assert "\n" not in text and not re.search(r"(?<!\\)[|`*\[\]]", text)
    assert "<" not in text.replace("<br>", "") and "https://" not in text and "\u202e" not in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("llama_weak pass@1", "llama_weak pass@1"),
        ("_a_ @b", r"\_a\_ \@b"),
        ("1\n2", "1<br>2"),
        ("a|b\\", r"a\|b\\"),
        ("www.x.org http://x", r"www\.x.org http\://x"),
        ("&lt;", "&amp;lt;"),
    ],
)
def test_what_markdown_acts_on_is_disarmed_and_the_rest_left_readable(text, shown):
    assert inline(text) == shown


def test_a_listing_is_fenced_by_more_than_it_holds():
    text = markdown(Report("t", (Section("s", (Code("````\n# x"),)),)))
    assert "`````\n````\n# x\n`````" in text


def test_groups_of_columns_become_part_of_their_names():
    grid = Grid("c", ("row", "a", "b"), ((Cell("x"), Cell("1", "0–2"), Cell("2")),), groups=(("g", 2),))
    text = markdown(Report("t", (Section("s", (grid,)),)))
    assert "| row | g: a | g: b |\n| --- | ---: | ---: |\n| x | 1<br><sub>0–2</sub> | 2 |" in text


def test_the_graph_has_the_boxes_arrows_and_numbers_of_the_picture(facts):
    flow = workflow(facts.stages, facts.evaluations)
    lines = mermaid(flow).split("\n")
    assert lines[0] == "graph TD" and len(lines) == 1 + len(flow.boxes) + len(flow.arrows)
    [zero] = [line for line in lines if '"zero<br/>' in line]
    box = next(box for box in flow.boxes if box.name == "zero")
    assert all(line in zero for line in box.lines)


def test_mermaid_gets_no_character_that_it_acts_on():
    flow = Workflow((Box('a"];x', "<b>", "model", ()), Box("end", "", "data", ())), (Arrow('a"];x', "end", "data"),))
    assert mermaid(flow).split("\n")[1:] == ['  n0["a#34;#93;#59;x<br/>#60;b#62;"]', '  n1["end"]', "  n0 -.-> n1"]


def test_drawing_a_report_needs_no_jax():
    program = "import sys, reasoning.report.markdown, reasoning.report.page; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
