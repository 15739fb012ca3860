"""Tables and text in a terminal: what a cell holds is shown as it is, and nothing that a terminal acts on is left."""

from rich.console import Console

from reasoning.report.console import complain, headed, plain_text, put, put_piece, say, table
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


def test_pieces_are_one_text_until_an_empty_one_ends_the_line():
    console = Console(width=10, force_terminal=False)
    with console.capture() as capture:
        for piece in ("longer than ", "the console is wide", "\nand ", ""):
            put_piece(console, piece)
    assert capture.get() == "longer than the console is wide\nand \n"


ATTACK = "\x1b[31ma\x1b]0;owned\x07b\x9b2J\u202ec\rd\ud800[bold]"


def test_whatever_is_put_said_or_complained_of_acts_on_no_terminal(capsys):
    console = Console(width=200)
    put(console, ATTACK)
    put(console, ATTACK, margin=4)
    put(console, headed(ATTACK, ATTACK), wrapped=True)
    put(console, table(ATTACK, (ATTACK,), [[ATTACK]]))
    say(ATTACK)
    complain(ATTACK)
    printed = "".join(capsys.readouterr())
    assert printed.count("[bold]") == 9 and printed.isascii() is False
    assert not set(printed) & set("\x1b\x07\x9b\u202e\r\ud800")
