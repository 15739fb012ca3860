import io

import pytest
from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import TextColumn

from reasoning.cli.progress import BarProgress, LineProgress, Pace, display, shown_values
from reasoning.core.progress import Progress


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_plain_lines_are_thinned_to_one_in_two_seconds_and_keep_the_last(clock):
    written = []
    lines = LineProgress(written.append, Pace(clock))
    for step in range(1, 51):
        lines.report(Progress("zero", step, 50))
        clock.now += 0.5
    steps = [int(line.split()[1].split("/")[0]) for line in written]
    assert steps == [*range(1, 50, 4), 50]


def test_every_stage_has_its_own_clock(clock):
    written = []
    lines = LineProgress(written.append, Pace(clock))
    for stage in ("base", "zero"):
        lines.report(Progress(stage, 1, 9))
    assert [line.split()[0] for line in written] == ["base", "zero"]


def test_speed_and_time_left_count_from_the_first_report_of_this_process(clock):
    pace = Pace(clock)
    assert pace.shown(Progress("zero", 50, 100)) == ""
    clock.now = 101.0
    assert pace.shown(Progress("zero", 51, 10_050, tokens=0)) == "2:46:39 left"
    clock.now = 110.0
    assert pace.shown(Progress("zero", 60, 100, tokens=20_000)) == "2k tokens/s  0:40 left"
    clock.now = 120.0
    assert pace.shown(Progress("zero", 100, 100)) == ""


def test_values_keep_their_order_and_lose_their_prefix():
    reported = {"loss": 0.123456, "completions/mean_length": 24.6, "a": 1.0, "b": 2.0, "c": 3.0}
    assert shown_values(Progress("zero", 1, 2, reported)) == "loss 0.1235  mean_length 24.6  a 1  b 2"


def test_bars_follow_the_reports(clock):
    output = io.StringIO()
    columns = (TextColumn("{task.description}"), TextColumn("{task.completed}/{task.total} {task.fields[values]}"))
    with Bars(*columns, console=Console(file=output, force_terminal=True, width=80)) as bars:
        live = BarProgress(bars, Pace(clock))
        for step in (1, 2, 3):
            live.report(Progress("zero", step, 3, {"loss": 1 / step}))
        live.report(Progress("exam", 1, 1))
    assert "zero 3/3 loss 0.3333" in output.getvalue() and "exam 1/1" in output.getvalue()


def test_without_a_terminal_news_go_to_stdout_and_warnings_to_stderr(capsys):
    with display() as watcher:
        watcher.note("base: starts")
        watcher.report(Progress("base", 1, 2, {"loss": 0.5}))
        watcher.warn("careful [bold]")
    printed = capsys.readouterr()
    assert printed.out == "base: starts\nbase  1/2  loss 0.5\n"
    assert printed.err == "warning: careful [bold]\n"


def test_silence_is_silent(capsys):
    with display(silent=True) as watcher:
        watcher.note("a")
        watcher.warn("b")
        watcher.report(Progress("base", 1, 2))
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""
