"""A plan on the terminal: programs, verdict, and how much is missing."""

import io

from plans import plan_of
from rich.console import Console

from reasoning.report.plan import show_plan


def shown(plan, price=0.0):
    output = io.StringIO()
    show_plan(Console(file=output, width=200), plan, price)
    return output.getvalue()


def test_programs_are_told_with_what_lies_beside_them():
    text = shown(plan_of(4.0))
    assert "zero: sample" in text and "+ reference 2.00" in text and "all-gather fsdp 2 GB" in text
    assert "assumed: zero: its longest prompt" in text and "mesh: data 2" in text
