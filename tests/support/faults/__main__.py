"""``python -m faults``: rounds of faults over all stages of the miniature, and a table of what held.

Rounds that are in the file of results already aren't played again, so the same command goes on where one was stopped;
given twice at the same time it shares the rounds out.
"""

import argparse
import fcntl
import json
import math
import re
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from miniature import graph

from faults.cases import Case, draw
from faults.jobs import JOBS
from faults.processes import import_all
from faults.round import Result
from faults.rounds import perform
from faults.world import World
from reasoning.report.console import complain, say

_PLACES = (
    "checkpoints",
    "checkpoint",
    "best",
    "parts",
    "pieces",
    "rollouts",
    "records",
    "tokenizer",
    "jsonl",
    "artifact.json",
    "results.json",
    "report",
    "run.json",
    "resolved.gin",
)
"""What changes are told apart by, in a stage's folder and in the run's."""

_ANEW = 10
"""Each so-manieth round starts Python anew for each of its processes, as users do; the others fork them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays the rounds that are missing and prints the table; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m faults", description="Attacks runs of the miniature.")
    parser.add_argument("--rounds", type=int, default=500, help="how many rounds there are to be in all (default 500)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default 0)")
    parser.add_argument("--out", default="runs/faults", help="folder of results and of the uninterrupted run")
    parser.add_argument("--minutes", type=float, default=0.0, help="begin no round after so long (0: play them all)")
    parser.add_argument("--kind", default="", help="only rounds of this kind of fault")
    parser.add_argument("--stages", default=",".join(graph()), help="the stages under attack (default: all)")
    chosen = parser.parse_args(arguments)
    stages = tuple(chosen.stages.split(","))
    out, begun = Path(chosen.out).absolute(), time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"rounds-{chosen.seed}.jsonl"
    import_all()
    world = World(out / "world", stages, out / "world" / "reference")
    until = begun + 60 * chosen.minutes if chosen.minutes else math.inf
    with world.home("."):
        ready = world.prepare(until)
    missing = sorted(set(range(chosen.rounds if ready else 0)) - _played(file))
    with open(out / f".claims-{chosen.seed}", "wb") as claims:
        for case in (draw(number, chosen.seed, stages) for number in missing):
            wanted = chosen.kind in case.kind and time.monotonic() < until
            if wanted and _claim(claims, case.number) and case.number not in _played(file):
                _play(world, case, out / f"round-{chosen.seed}-{case.number}", file)
    rows = read(file)
    say(histogram(rows))
    return int(any(row["broken"] for row in rows))


def _claim(claims: IO[bytes], number: int) -> bool:
    """Whether a round is this runner's: a byte of a file is locked for it until this process ends, however it ends."""
    try:
        fcntl.lockf(claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
    except OSError:
        return False
    return True


def _played(file: Path) -> set[int]:
    return {row["number"] for row in read(file)}


def _play(world: World, case: Case, folder: Path, file: Path) -> None:
    """One round; its folder stays where something was broken."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    begun, world.anew = time.monotonic(), case.number % _ANEW == 0
    world.started.clear()
    try:
        result = JOBS.get(case.kind, perform)(world, case, folder)
    except Exception as error:
        result = Result("", broken=[f"the round itself failed: {type(error).__name__}: {error}"])
    spent = {"seconds": time.monotonic() - begun, "cpu_seconds": sum(process.seconds for process in world.started)}
    row = {**asdict(case), **asdict(result), **{name: round(value, 1) for name, value in spent.items()}}
    with open(file, "a", encoding="utf-8") as lines:
        lines.write(json.dumps(row, sort_keys=True) + "\n")
    if not result.broken:
        shutil.rmtree(folder)
    verdict = "; ".join(result.broken) or ("held" if result.met else "not met")
    complain(f"{case.number} {case.kind} in {case.stage}, {result.where}: {verdict}")


def read(file: Path) -> list[dict[str, Any]]:
    """The rounds that have been played."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def histogram(rows: Iterable[dict[str, Any]]) -> str:
    """Tables by fault, by stage and, of those at a change, by phase: rounds, those that met their fault, that held."""
    rows = [{**row, "phase": phase_of(row["where"])} for row in rows]
    changes = [row for row in rows if row["phase"]]
    tables = [_table("fault", rows, "kind"), _table("stage", rows, "stage")]
    tables += [_table("phase", changes, "phase")] if changes else []
    told = [(f"{row['number']}: {row['kind']} in {row['stage']}, {row['where']}", row["broken"]) for row in rows]
    broken = [f"{where}: {'; '.join(why)}" for where, why in told if why]
    return "\n\n".join([*tables, *(["broken:\n" + "\n".join(broken)] if broken else [])])


def phase_of(where: str) -> str:
    """What was being done when a fault came at a change: ``fsync, checkpoints``; empty where it came otherwise."""
    found = re.match(r"(write|fsync|rename|mkdir|remove|rmdir|truncate) (\S+) \(", where)
    if not found:
        return ""
    place = next((part for part in _PLACES if part in found[2]), "other files")
    return f"{found[1]}, {place}"


def _table(title: str, rows: Sequence[dict[str, Any]], key: str) -> str:
    lines = [f"| {title} | rounds | met | held |", "| --- | ---: | ---: | ---: |"]
    for name in sorted({row[key] for row in rows}):
        some = [row for row in rows if row[key] == name]
        held = sum(not row["broken"] for row in some)
        lines.append(f"| {name} | {len(some)} | {sum(row['met'] for row in some)} | {held} |")
    held = sum(not row["broken"] for row in rows)
    lines.append(f"| all | {len(rows)} | {sum(row['met'] for row in rows)} | {held} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
