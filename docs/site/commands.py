"""The page on commands, made from what they and the Makefile say of themselves."""

import contextlib
import importlib
import io
import re
from pathlib import Path

from reasoning.cli.main import COMMANDS

_TARGET = re.compile(r"^([a-z0-9-]+):.*## (.*)$", re.MULTILINE)


def make_targets(makefile: Path) -> dict[str, str]:
    """What ``make help`` lists: each target with what it does."""
    return dict(_TARGET.findall(makefile.read_text()))


def help_of(command: str) -> str:
    """What ``reasoning COMMAND --help`` prints."""
    heard = io.StringIO()
    with contextlib.redirect_stdout(heard), contextlib.suppress(SystemExit):
        importlib.import_module(f"reasoning.cli.{command}").main(["--help"])
    return heard.getvalue().strip()


def page(makefile: Path) -> str:
    """The page's Markdown."""
    targets = [f"| `make {name}` | {does} |" for name, does in make_targets(makefile).items()]
    parts = ["# Commands", "What `--help` says of each.", "## make", "\n".join(["| | |", "| --- | --- |", *targets])]
    for command, (summary, _) in COMMANDS.items():
        parts.append(f"## reasoning {command}\n\nTo {summary}.\n\n```text\n{help_of(command)}\n```")
    return "\n\n".join(parts) + "\n"
