import errno
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from reasoning.cli import main as command_line
from reasoning.cli.main import COMMANDS, main
from reasoning.core.errors import InputError


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_without_a_command_it_teaches_the_commands(capsys, arguments):
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in COMMANDS) and "reasoning run" in printed


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(capsys, command):
    with pytest.raises(SystemExit) as exit_status:
        main([command, "--help"])
    assert exit_status.value.code == 0
    assert f"usage: reasoning {command}" in capsys.readouterr().out


def test_a_mistyped_command_gets_a_suggestion_and_status_2(capsys):
    assert main(["rnu"]) == 2
    assert capsys.readouterr().err == "error: there is no command 'rnu'; did you mean 'run'?\n"


def test_help_comes_without_loading_jax():
    script = "import sys; from reasoning.cli.main import main; main([]); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == 0


@pytest.mark.parametrize("own", [True, False])
def test_what_a_command_of_a_process_imports_is_not_looked_through_for_cycles_again(own: bool, tmp_path):
    (tmp_path / "made.py").write_text(
        "import gc, sys\nfrom types import SimpleNamespace\n"
        "from reasoning.cli import main as command_line\n"
        "command_line._command = lambda name: (print(gc.isenabled()), SimpleNamespace(main=lambda words: 0))[1]\n"
        f"sys.argv = ['reasoning', 'doctor']\ncommand_line.main(None if {own} else ['doctor'])\n"
        "print(gc.isenabled(), gc.get_freeze_count() > 1000)\n"
    )
    done = subprocess.run([sys.executable, tmp_path / "made.py"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(not own), "True", str(own)]


def give_up_with(error, monkeypatch):
    """Adds a command ``fail`` that raises an error."""

    def fail(arguments):
        raise error

    monkeypatch.setitem(COMMANDS, "fail", ("", ""))
    monkeypatch.setitem(sys.modules, "reasoning.cli.fail", SimpleNamespace(main=fail))


@pytest.mark.parametrize(
    ("error", "status"), [(InputError("bad"), 2), (KeyboardInterrupt(), 130), (OSError("gone"), 1)]
)
def test_a_process_of_a_job_leaves_at_once_when_it_fails(monkeypatch, capsys, error, status):
    left = []
    monkeypatch.setattr(command_line, "abandon", left.append)
    monkeypatch.setenv("REASONING_COORDINATOR", "localhost:1")
    give_up_with(error, monkeypatch)
    try:
        assert main(["fail"]) == status
    except OSError:
        assert "Traceback" in capsys.readouterr().err
    assert left == [status]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "out/run.json"),
            "out/run.json can't be written: No space left",
        ),
        (OSError(errno.EROFS, "Read-only file system"), "a file can't be written: Read-only file system"),
    ],
)
def test_a_full_disk_is_one_message_with_the_notes_and_status_2(monkeypatch, capsys, error, message):
    error.add_note("stage base stopped")
    give_up_with(error, monkeypatch)
    assert main(["fail"]) == 2
    first, note = capsys.readouterr().err.splitlines()
    assert first.startswith(f"error: {message}") and first.endswith("free space and run the same command again")
    assert note == "stage base stopped"


def test_other_errors_of_files_are_the_programs_own(monkeypatch):
    give_up_with(FileNotFoundError(errno.ENOENT, "No such file", "somewhere"), monkeypatch)
    with pytest.raises(FileNotFoundError):
        main(["fail"])


@pytest.mark.parametrize("error", [MemoryError("no 7 PiB"), RuntimeError("RESOURCE_EXHAUSTED: no 7 PiB")])
def test_full_memory_is_one_message_without_the_notes_of_libraries(monkeypatch, capsys, error):
    error.add_note("-----\nFor simplicity, a library has removed its frames.")
    error.add_note("stage base stopped")
    give_up_with(error, monkeypatch)
    assert main(["fail"]) == 2
    first, note = capsys.readouterr().err.splitlines()
    assert first.startswith("error: there is not enough memory (") and "7 PiB" in first and note == "stage base stopped"


def test_names_are_utf8_whatever_the_locale_and_the_terminal_gets_its_own_encoding(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("LANG", "LC_CTYPE")}
    environment |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    words = [sys.executable, "-m", "reasoning", "run", "--check", "dät/ö.gin"]
    (tmp_path / "dät").mkdir()
    (tmp_path / "dät/ö.gin").write_text("include 'für/nichts.gin'\n", encoding="utf-8")
    done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True)
    assert done.returncode == 2
    message = done.stderr.decode("ascii")
    assert message.startswith("error:") and "f?r/nichts.gin" in message and "d?t/?.gin:1" in message
