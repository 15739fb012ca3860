"""A supervised step of SmolLM2-135M on the CPU at a long context, with attention in blocks and with all scores at once.

A row of 8,192 tokens, one XLA device, float32, AdamW, blocks recomputed in the backward pass; weights are random, which
changes neither memory nor time. Each contestant is compiled in a process of its own, which says what its temporaries
take, and then makes one step. All scores of 8,192 tokens need more memory than many machines have: with --compile
nothing runs.

    python benchmarks/long_sft.py --contestants blocks
    python benchmarks/long_sft.py --contestants scores --compile
    python benchmarks/long_sft.py --length 2048
"""

import argparse
import json
import time
from unittest import mock

from sft_step import prepared
from side_by_side import peak_mebibytes, rounds_of

CONTESTANTS = ("blocks", "scores")


def measured(contestant: str, length: int, run: bool) -> dict[str, float]:
    """MiB of temporaries, and the seconds and the memory of a step if it is to run."""
    # Rows so short make all their scores at once.
    with mock.patch("reasoning.kernels.attention.backends._SHORT", length if contestant == "scores" else 128):
        step, state, batch = prepared(1, "SMOLLM2_135M", 1, length)
        program = step.lower(state, {}, batch).compile()
    found = {"temporaries": program.memory_analysis().temp_size_in_bytes / 2**20}
    if run:
        started, begun = time.perf_counter(), time.process_time()
        metrics = program(state, {}, batch)[1]
        found["loss"] = float(metrics["loss"][0])
        found |= {"wall": time.perf_counter() - started, "cpu": time.process_time() - begun, "rss": peak_mebibytes()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=8192)
    parser.add_argument("--compile", action="store_true", help="run nothing")
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--one", choices=CONTESTANTS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one is not None:
        print(json.dumps(measured(chosen.one, chosen.length, not chosen.compile)))
        return
    arguments = ["--length", str(chosen.length), *(["--compile"] if chosen.compile else [])]
    for name, found in rounds_of(__file__, chosen.contestants, 1, *arguments)[0].items():
        told = [f"{name}, {chosen.length} tokens: temporaries {found['temporaries']:.0f} MiB"]
        if "wall" in found:
            speed, each = chosen.length / found["wall"], chosen.length / found["cpu"]
            told.append(f"a step {found['wall']:.1f} s ({speed:.0f} tokens/s), {found['cpu']:.1f} CPU s ({each:.0f})")
            told.append(f"peak {found['rss']:.0f} MiB; loss {found['loss']:.4f}")
        print("; ".join(told), flush=True)


if __name__ == "__main__":
    main()
