"""A plan on the terminal: programs, verdict, and how much is missing."""

import io
import re
from dataclasses import replace

import pytest
from plans import GIB, plan_of
from rich.console import Console
from tiny_stages import BASE

from reasoning.core.mesh import MeshShape
from reasoning.pipeline.run import Run
from reasoning.planning.search import Choice, Ranked
from reasoning.planning.trying import Helped, Tried
from reasoning.report.document import Bars
from reasoning.report.page import page
from reasoning.report.plan import plan_report, show_plan, show_search


def shown(plan, price=0.0):
    output = io.StringIO()
    show_plan(Console(file=output, width=200), plan, price)
    return output.getvalue()


def test_programs_are_told_with_what_lies_beside_them():
    text = shown(plan_of(4.0))
    assert "zero: sample" in text and "+ reference 2.00" in text and "all-gather fsdp 2 GB" in text
    assert "assumed: zero: its longest prompt" in text and "mesh: data 2" in text


def test_the_file_s_own_settings_are_marked_among_those_that_were_searched():
    output, run = io.StringIO(), Run((BASE,), mesh=MeshShape())
    found, own = (Choice({"data": 2, "fsdp": size}, 2, "dots", run, 1.0, 1.0, 1.0, size == 1) for size in (2, 1))
    ranked = [Ranked(each, True, 3 * GIB, seconds, 0.0, 0.0) for each, seconds in ((found, 900.0), (own, 1800.0))]
    show_search(Console(file=output, width=200), ranked, 4)
    lines = output.getvalue().splitlines()
    [marked] = [number for number, line in enumerate(lines) if "the file's own" in line and "fastest" not in line]
    assert lines[marked - 1].split()[:2] == ["data", "2"] and "30 min" in lines[marked - 1]
    assert "the fastest takes 50% of the time of the file's own settings: mesh: data 2, fsdp 2" in output.getvalue()


def plan(second: float = 4.0):
    made = plan_of(second)
    sample, update = made.programs
    kinds = {"params": 0.5 * GIB, "optimizer": 0.5 * GIB}
    return replace(made, programs=(replace(sample, name="<b>sample"), replace(update, arguments=kinds)))


def bars_of(title: str, second: float = 4.0) -> Bars:
    sections = {section.title: section for section in plan_report(plan(second), 0.0, ()).sections}
    [bars] = sections[title].blocks
    assert isinstance(bars, Bars)
    return bars


def test_a_bar_is_all_that_a_device_holds_by_kind():
    bars = bars_of("Memory")
    update = bars.bars[1]
    assert sum(part.value for part in update.parts) == pytest.approx(plan().programs[1].memory)
    assert {part.name: part.value / GIB for part in update.parts} == {
        "parameters": 0.5, "optimizer": 0.5, "reference": 2, "temporaries and results": 3,
    }  # fmt: skip
    assert bars.limit is not None and bars.limit.value == plan().capacity and update.tone == ""
    assert bars_of("Memory", 14.0).bars[1].tone == "down"


def test_what_is_busy_longest_is_what_binds():
    busy = {bar.name: bar for bar in bars_of("Time").bars}
    assert busy["zero: <b>sample, products"].text == "10 s binds"
    assert busy["zero: update, memory"].text == "2 s binds"


def test_the_page_is_inert_and_says_what_it_draws():
    helping = (Helped(plan(14.0).programs[1], (Tried("zero.microbatches = 2", 9 * GIB, True),)),)
    text = page(plan_report(plan(14.0), 1.0, helping))
    assert "<b>sample" not in text and "<script" not in text and "default-src 'none'" in text
    [said] = set(re.findall(r'aria-label="HBM of a device, GiB\. ([^"]*)"', text))
    assert "zero: update: 16.00 GiB, reference 2.00" in said and "temporaries and results 13.00" in said
    assert "zero.microbatches = 2 takes 9.00 GiB, which fits" in text and "doesn&#39;t fit by 0.25 GiB" in text
    assert page(plan_report(plan(14.0), 1.0, helping)) == text
