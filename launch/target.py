"""What every target comes down to: files, and commands that submit, show, follow and stop a job."""

import json
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from launch.background import begin, end, state
from launch.commands import Command, answer, as_script, run_in_order, show
from launch.settings import Launch
from launch.shipment import Cell, Shipment, check_plan, pack, write_code
from reasoning.core.errors import InputError
from reasoning.report.console import say

_RECORD = "launch.json"
_BEHIND, _BEHIND_LOG = "behind.sh", "behind.log"
ACTIONS = ("status", "logs", "stop")


@dataclass(frozen=True)
class Job:
    """How one cell is looked after: commands that say its state in a line, follow its log, and end it."""

    name: str
    state: Command
    logs: Command
    stop: tuple[Command, ...]


@dataclass(frozen=True)
class Submission:
    """All of a launch: files by name, and commands, which may name the files by their paths.

    ``behind`` waits for the first cell, then submits the others, on the launching machine and in the background; empty
    where the target itself makes them wait. ``topology`` is what the experiment is planned for; empty where no plan
    knows the machine. ``hint``: another way.
    """

    topology: str
    files: dict[str, str]
    submit: tuple[Command, ...]
    jobs: tuple[Job, ...]
    behind: tuple[Command, ...] = ()
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
    end(_behind(shipment.folder), 0.0, group=True)  # of an earlier launch; two would submit everything twice
    run_in_order(made.submit, f"What was begun may still be there: 'python -m launch {target} stop {shipment.name}'")
    say(f"'python -m launch {target} status | logs | stop {shipment.name}' shows, follows and ends it")
    if made.behind:
        begin(_behind(shipment.folder), shipment.folder / _BEHIND_LOG, ("bash", str(shipment.folder / _BEHIND)))
        say(f"the other cells wait for the first, by a process here; {shipment.folder / _BEHIND_LOG} tells of them")
    return 0 if settings.detach else show(made.jobs[0].logs)


def act(target: str, action: str, name: str, folder: str, cell: str) -> int:
    """``status``, ``logs`` or ``stop`` of a launch that this checkout has made; the exit status.

    ``cell`` is the number or the name of one; without it logs are the first's, and the rest is done to all.
    """
    path = Path(folder) / name / _RECORD
    if not path.is_file():
        raise InputError(f"there is no launch {name!r} in {folder}; give the name, and --folder, that launched it")
    record = json.loads(path.read_text(encoding="utf-8"))
    if record["target"] != target:
        raise InputError(f"{name!r} was launched by {record['target']}; use that word in place of {target}")
    jobs = [_read_job(job) for job in record["jobs"]]
    chosen = _chosen(jobs, cell) if cell else jobs
    if action == "logs":
        return show(chosen[0].logs)
    if action == "status":
        return _show_states(chosen, path.parent)
    if len(chosen) == len(jobs):
        end(_behind(path.parent), 0.0, group=True)
    _stop(chosen)
    return 0


def _stop(jobs: Sequence[Job]) -> None:
    """Ends every job, also where one can't be; InputError names all of those."""
    failures = []
    for job in jobs:
        try:
            run_in_order(job.stop, f"{job.name} has to be stopped by hand")
        except InputError as error:
            failures.append(str(error))
    if failures:
        raise InputError("\n".join(failures))


def _show_states(jobs: Sequence[Job], folder: Path) -> int:
    codes = []
    for job in jobs:
        code, told = answer(job.state)
        say(f"{job.name}: {' '.join(told.split()) or 'not submitted, or forgotten by the target'}")
        codes.append(code)
    if _behind(folder).is_file():
        say(f"what submits the other cells: {state(_behind(folder))}; {folder / _BEHIND_LOG}")
    return max(codes)


def _chosen(jobs: Sequence[Job], cell: str) -> list[Job]:
    found = [job for job in jobs if cell in (job.name, job.name.rpartition("-")[2])]
    if not found:
        raise InputError(f"--cell {cell}: there are {', '.join(job.name for job in jobs)}; give a name or a number")
    return found[:1]


def _read_job(job: dict[str, Any]) -> Job:
    return Job(job["name"], tuple(job["state"]), tuple(job["logs"]), tuple(tuple(words) for words in job["stop"]))


def _behind(folder: Path) -> Path:
    return folder / "behind.json"


def cell_file(cell: Cell) -> str:
    """What a cell's experiment file is called; the name of its results' folder doesn't come from it."""
    return f"{cell.name}.gin"


def run_command(shipment: Shipment, cell: Cell, python: str, folder: str, results: str, retries: int) -> Command:
    """What each process of a cell's job runs: `launch.worker` around ``reasoning run``.

    Its experiment file lies in ``folder``, all results of the launch in ``results``. Cells behind the first may take
    over what that has finished. A store has one owner at a time, so each cell has a folder of its own there.
    """
    first = shipment.cells[0]
    file, out = str(PurePosixPath(folder, cell_file(cell))), str(PurePosixPath(results, cell.out))
    takes = () if cell == first else ("--take", str(PurePosixPath(results, first.out)))
    worker = (python, "-m", "launch.worker", "--retries", str(retries), *takes)
    store = ("--store", f"{shipment.store}/{cell.name}") if shipment.store else ()
    return (*worker, "--out", out, "--", python, "-m", "reasoning", "run", file, "--out", out, *store)


def _write(target: str, shipment: Shipment, made: Submission) -> None:
    shipment.folder.mkdir(parents=True, exist_ok=True)
    write_code(shipment)
    told = f"{shlex.quote(shipment.name)} at commit {shipment.commit}"
    files = {cell_file(cell): cell.text for cell in shipment.cells} | made.files
    files["submit.sh"] = as_script(made.submit, told)
    if made.behind:
        files[_BEHIND] = as_script(made.behind, f"what follows once the first cell of {told} has ended")
    cells = [asdict(cell) | {"text": cell_file(cell)} for cell in shipment.cells]
    jobs = [asdict(job) for job in made.jobs]
    record = {"target": target, "commit": shipment.commit, "cells": cells, "jobs": jobs}
    files[_RECORD] = json.dumps(record, indent=2) + "\n"
    for name, text in files.items():
        # In place of the old file at once: a shell may be reading that.
        partial = shipment.folder / f".{name}.partial"
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, shipment.folder / name)
