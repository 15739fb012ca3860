"""docs/how-to.md, done: its files are written to an empty folder, and its commands typed there, one after another."""

import os
import re
import subprocess
from pathlib import Path

import forked
import pytest
from quick_compile import QUICK

from reasoning.planning.topology import libtpu_is_installed

CHECKOUT = Path(__file__).parents[2]
PAGE = (CHECKOUT / "docs/how-to.md").read_text()
FILES = dict(re.findall(r"^`(\w+\.\w+)`[^\n]*:\n```\w*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
LISTED = re.findall(r"^python (.*?)(?: +# .*)?$", PAGE, re.MULTILINE)
COMMANDS = [line for line in LISTED if libtpu_is_installed() or " plan " not in line]

TYPED = """
import runpy, shlex, socketserver, sys
socketserver.BaseServer.serve_forever = lambda server: None  # As with Ctrl-C at once.
for line in sys.argv[1:]:
    print(">>>", line, flush=True)
    words = shlex.split(line)
    if words[0] == "-m":
        module = __import__("reasoning.cli.main" if words[1] == "reasoning" else "launch.__main__", fromlist=["main"])
        if module.main(words[2:]):
            sys.exit(f"{line} failed")
    else:
        runpy.run_path(words[0])
"""
"""Types commands in one process, which starts JAX once, and ends with the first that fails."""


def test_the_page_has_a_command_for_each_thing_to_do():
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    assert [section.splitlines()[0] for section in sections if "\npython " not in section] == []
    assert set(FILES) == {"make_rows.py", "mine.py", "mine.gin", "several.gin"}


@pytest.mark.slow
def test_what_the_page_says_works_from_an_empty_folder(tmp_path: Path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    for words in ("init", "add .", "-c user.name=a -c user.email=a@example.org commit -m mine"):  # For a launch.
        subprocess.run(["git", "-C", tmp_path, *words.split()], check=True, capture_output=True)
    done = forked.run(["-c", TYPED, *COMMANDS], os.environ | {"XLA_FLAGS": QUICK}, 300, tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    said = dict(zip(COMMANDS, done.stdout.split(">>> ")[1:], strict=True))
    assert "student" in said["-m reasoning run mine.gin --out runs/mine"]
    assert "majority@4" in said["-m reasoning scaling runs/mine/exam"]
    assert "shows runs/mine" in said["-m reasoning view runs/mine"]
    written = ("models/mine/config.json", "mine.html", "runs/several/table.md", "checkpoints/mine")
    assert [name for name in written if not (tmp_path / name).exists()] == []
