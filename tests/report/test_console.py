"""Tables and text in a terminal: what a cell holds is shown as it is, and nothing that a terminal acts on is left."""

from rich.console import Console

from reasoning.report.console import plain_text, table
from reasoning.report.document import Cell


def printed(thing: object) -> str:
    console = Console(width=60, force_terminal=False)
    with console.capture() as capture:
        console.print(thing)
    return capture.get()


def test_text_keeps_its_brackets_and_loses_what_a_terminal_acts_on():
    assert printed(plain_text("[bold]x[/bold]")) == "[bold]x[/bold]\n"
    assert "\x1b" not in printed(plain_text("\x1b[31mred\u202e"))


def test_a_table_folds_what_is_too_wide_and_drops_nothing():
    text = printed(table("numbers", ("name", "value"), [["b" * 70, Cell("1", "0 to 2")]]))
    assert text.count("b") == 70 + "numbers".count("b")
    assert "0 to 2" in text
