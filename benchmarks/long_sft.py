"""A supervised step of SmolLM2-135M on the CPU at long contexts: attention in blocks beside all scores at once.

One row, one XLA device, float32, AdamW, blocks recomputed in the backward pass; weights are random, which changes
neither memory nor time. Each case is compiled and makes its steps in a process of its own, whose peak counts what the
compiler took too; the last step is told. All scores of 8,192 tokens take 15 GiB: with --compile nothing runs, and the
row says what the program would take. Rows go into docs/kernels.md as they come, and those that it has are left out, so
a call that was cut off goes on. A step of 8,192 tokens takes minutes.

    python benchmarks/long_sft.py
    python benchmarks/long_sft.py --contestants scores --lengths 8192 --compile
"""

import argparse
import json
import time
from typing import Any
from unittest import mock

from page_tables import DOCS, put_row
from sft_step import prepared
from side_by_side import peak_mebibytes, rounds_of

CONTESTANTS = ("blocks", "scores")
HEAD = (
    "| tokens, attention | state, MiB | temporaries, MiB | peak, MiB | CPU s | tokens a CPU s | tokens/s | loss |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)


def measured(contestant: str, length: int, steps: int) -> dict[str, Any]:
    """MiB of arguments and of temporaries; seconds, memory and loss of the last of ``steps``, if there are any."""
    # Rows so short make all their scores at once.
    with mock.patch("reasoning.kernels.attention.backends._SHORT", length if contestant == "scores" else 128):
        step, state, batch = prepared(1, "SMOLLM2_135M", 1, length)
        program = step.lower(state, {}, batch).compile()
    memory = program.memory_analysis()
    found = {"held": memory.argument_size_in_bytes / 2**20, "temporaries": memory.temp_size_in_bytes / 2**20}
    for _ in range(steps):
        started, begun = time.perf_counter(), time.process_time()
        state, metrics = program(state, {}, batch)
        found["loss"] = float(metrics["loss"][0])
        found |= {"wall": time.perf_counter() - started, "cpu": time.process_time() - begun, "peak": peak_mebibytes()}
    return found


def row(contestant: str, length: int, steps: int) -> str:
    """The table's line of a case, measured now."""
    given = ("--lengths", str(length), "--steps", str(steps))
    found = rounds_of(__file__, [contestant], 1, *given)[0][contestant]
    told = ["not run", "", "", "", ""]
    if steps:
        speeds = [f"{length / found[name]:.1f}" for name in ("cpu", "wall")]
        told = [f"{found['peak']:.0f}", f"{found['cpu']:.0f}", *speeds, f"{found['loss']:.4f}"]
    return f"| `{length} {contestant}` | {found['held']:.0f} | {found['temporaries']:.0f} | {' | '.join(told)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=[2048, 8192])
    parser.add_argument("--steps", type=int, default=2, help="the first also meets memory that is new to the process")
    parser.add_argument("--compile", action="store_true", help="run nothing")
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--one", choices=CONTESTANTS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    steps = 0 if chosen.compile else chosen.steps
    if chosen.one is not None:
        print(json.dumps(measured(chosen.one, chosen.lengths[0], steps)))
        return
    page = DOCS / "kernels.md"
    for length in chosen.lengths:
        for contestant in chosen.contestants:
            if f"| `{length} {contestant}` |" not in page.read_text(encoding="utf-8"):
                line = row(contestant, length, steps)
                print(line, flush=True)
                put_row(page, "long rows", HEAD, line)


if __name__ == "__main__":
    main()
