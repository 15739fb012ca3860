import argparse

import pytest

from reasoning.cli.arguments import parsed


def test_arguments_are_parsed_and_a_refusal_cannot_act_on_the_terminal(capsys):
    parser = argparse.ArgumentParser(prog="x")
    parser.add_argument("--name")
    assert parsed(parser.parse_args, ["--name", "a\x1b[31m"]).name == "a\x1b[31m"
    with pytest.raises(SystemExit) as ended:
        parsed(parser.parse_args, ["\x1b]0;owned\x07more\u202e"])
    printed = capsys.readouterr()
    assert ended.value.code == 2 and printed.out == ""
    assert "unrecognized arguments: more\n" in printed.err and "\x1b" not in printed.err
