"""Plans every file under experiments/pods/ for the topology that its header names, and writes docs/pods.md's table.

Programs that an earlier plan compiled are remembered. Needs libtpu: make tpu-aot.

    python -m benchmarks.plan_all
    python -m benchmarks.plan_all pretrain_1b smollm2_v5e
    python -m benchmarks.plan_all --quick                   # without machine code (reasoning plan --quick)
    python -m benchmarks.plan_all --check pretrain_1b       # writes nothing; fails where a file doesn't fit
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from reasoning.core.files import read_json, write_atomic

ROOT = Path(__file__).parents[1]
PODS, PAGE = ROOT / "experiments" / "pods", ROOT / "docs" / "pods.md"
BEGIN, END = "<!-- plans: begin -->", "<!-- plans: end -->"
HEAD = (
    "| file | on | fits | HBM at the fullest, GiB | which is | chip-hours at least | libtpu |\n"
    "| --- | --- | --- | ---: | --- | ---: | --- |"
)


def planned(file: Path, quick: bool) -> dict[str, Any] | None:
    """A file's plan as data; None where it can't be made, with the reason told."""
    on = re.search(r"reasoning plan \S+ --on (\S+)", file.read_text(encoding="utf-8"))
    if on is None:
        sys.exit(
            f"{file} doesn't say in its header what it is planned for: # python -m reasoning plan {file} --on NAME"
        )
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "plan.json"
        command = [sys.executable, "-m", "reasoning", "plan", str(file), "--on", on[1], "--json", str(told)]
        # A process of its own, which gives its memory back.
        status = subprocess.run([*command, *(["--quick"] if quick else [])], check=False).returncode
        return read_json(told) if status in (0, 1) else None


def row(name: str, plan: dict[str, Any]) -> str:
    """The table's line of a plan."""
    fullest = max(plan["programs"], key=lambda one: one["memory"])
    failed = [one for one in plan["programs"] if one["refusal"] and not one["program_memory"]]
    held, hours = f"{fullest['memory'] / 2**30:.1f} of {plan['capacity'] / 2**30:.1f}", f"{plan['chip_hours']:,.3g}"
    verdict = "yes" if plan["fits"] else f"no: the compiler fails on {failed[0]['stage']}" if failed else "no"
    where, version = f"{fullest['stage']}: {fullest['program']}", plan["versions"]["libtpu"]
    cells = (f"`{name}`", plan["topology"], verdict, held, where, hours if plan["fits"] else "–", version)
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="files without .gin (else all)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file doesn't fit")
    parser.add_argument("--quick", action="store_true", help="without machine code")
    chosen = parser.parse_args()
    failed: list[str] = []
    for file in sorted(PODS.glob("*.gin")):
        if not chosen.names or file.stem in chosen.names:
            plan = planned(file, chosen.quick)
            if plan is not None and not chosen.check:
                write_row(file.stem, plan)
            failed += [] if plan is not None and plan["fits"] else [file.stem]
    if chosen.check and failed:
        sys.exit(f"don't fit: {', '.join(failed)}")


def write_row(name: str, plan: dict[str, Any]) -> None:
    """Puts a file's row into docs/pods.md's table; those of other files stay."""
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    table, after = rest.split(END)
    rows = {line.split("`")[1]: line for line in table.splitlines() if line.startswith("| `")}
    rows[name] = row(name, plan)
    lines = "\n".join([HEAD, *(rows[name] for name in sorted(rows))])
    write_atomic(PAGE, f"{before}{BEGIN}\n{lines}\n{END}{after}")


if __name__ == "__main__":
    main()
