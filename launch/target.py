"""What every target comes down to: files, and commands that submit, show, follow and stop a job."""

import json
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from launch.commands import Command, as_script, run_in_order, show
from launch.settings import Launch
from launch.shipment import Cell, Shipment, check_plan, pack, write_code
from reasoning.core.errors import InputError
from reasoning.report.console import say

_RECORD = "launch.json"
ACTIONS = ("status", "logs", "stop")


@dataclass(frozen=True)
class Submission:
    """All of a launch: files by name, and commands, which may name the files by their paths.

    ``topology`` is what the experiment is planned for; empty where no plan knows the machine. ``hint``: another way.
    """

    topology: str
    files: dict[str, str]
    submit: tuple[Command, ...]
    status: tuple[Command, ...]
    logs: tuple[Command, ...]
    stop: tuple[Command, ...]
    hint: str = ""


def launch(
    target: str,
    file: str,
    overrides: list[str],
    settings: Launch,
    submission: Callable[[Shipment], Submission],
    dry: bool,
) -> int:
    """Plans, writes a launch's files and, unless ``dry``, submits it and follows its log; the exit status.

    What is in the folder of a launch of the same name is replaced: the same command goes on with the same results.
    """
    shipment = pack(file, overrides, settings)
    made = submission(shipment)
    if made.topology and not settings.force:
        say(check_plan(file, overrides, made.topology).strip())
    _write(target, shipment, made)
    say(f"{target}: {len(shipment.cells)} job(s) at commit {shipment.commit[:12]}; files are in {shipment.folder}")
    if made.hint:
        say(made.hint)
    if dry:
        say(f"nothing was submitted; {shipment.folder / 'submit.sh'} has the commands")
        return 0
    run_in_order(made.submit, f"What was begun may still be there: 'python -m launch {target} stop {shipment.name}'")
    say(f"'python -m launch {target} status | logs | stop {shipment.name}' shows, follows and ends it")
    return 0 if settings.detach else show(made.logs)


def act(target: str, action: str, name: str, folder: str) -> int:
    """``status``, ``logs`` or ``stop`` of a launch that this checkout has made; the exit status."""
    path = Path(folder) / name / _RECORD
    if not path.is_file():
        raise InputError(f"there is no launch {name!r} in {folder}; give the name, and --folder, that launched it")
    record = json.loads(path.read_text(encoding="utf-8"))
    if record["target"] != target:
        raise InputError(f"{name!r} was launched by {record['target']}; use that word in place of {target}")
    commands = [tuple(command) for command in record[action]]
    if action != "stop":
        return show(commands)
    run_in_order(commands, "What is left has to be stopped by hand.")
    return 0


def cell_file(cell: Cell) -> str:
    """What a cell's experiment file is called; the name of its results' folder doesn't come from it."""
    return f"{cell.name}.gin"


def run_command(shipment: Shipment, cell: Cell, python: str, folder: str, results: str, retries: int) -> Command:
    """What each process of a cell's job runs: `launch.worker` around ``reasoning run``.

    Its experiment file lies in ``folder``, all results of the launch in ``results``. Cells behind the first may take
    over what that has finished.
    """
    first = shipment.cells[0]
    file, out = str(PurePosixPath(folder, cell_file(cell))), str(PurePosixPath(results, cell.out))
    takes = () if cell == first else ("--take", str(PurePosixPath(results, first.out)))
    worker = (python, "-m", "launch.worker", "--retries", str(retries), *takes)
    return (*worker, "--out", out, "--", python, "-m", "reasoning", "run", file, "--out", out)


def _write(target: str, shipment: Shipment, made: Submission) -> None:
    shipment.folder.mkdir(parents=True, exist_ok=True)
    write_code(shipment)
    for cell in shipment.cells:
        (shipment.folder / cell_file(cell)).write_text(cell.text, encoding="utf-8")
    for name, text in made.files.items():
        (shipment.folder / name).write_text(text, encoding="utf-8")
    told = f"{shlex.quote(shipment.name)} at commit {shipment.commit}"
    (shipment.folder / "submit.sh").write_text(as_script(made.submit, told), encoding="utf-8")
    actions = {action: getattr(made, action) for action in ACTIONS}
    cells = [asdict(cell) | {"text": cell_file(cell)} for cell in shipment.cells]
    record = {"target": target, "commit": shipment.commit, "cells": cells, **actions}
    (shipment.folder / _RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
