"""Token log-probabilities and divergences, forward and backward, side by side on whatever device is there.

- naive: plain ``jax.numpy`` over the logits of all tokens, as everybody writes it first;
- chunked: this project's, a chunk of tokens at a time in plain XLA;
- pallas: this project's kernels, where the device is a TPU.

Each gives log-probability and entropy (or a divergence) of every token, and the gradients of hidden states and matrix
for an upstream gradient of each token. Memory is the most that the first call needs above its operands: on a CPU by
the kernel's own peak of the process, elsewhere by the device's. It counts results, the two gradients among them.

    python benchmarks/log_probs.py --rounds 3
    python benchmarks/log_probs.py --loss forward
"""

import argparse
import ctypes
import json
import statistics
import time
from pathlib import Path
from typing import Any

from heads import both_passes, naive, ours
from side_by_side import median, ratio, rounds_of

CONTESTANTS = ("naive", "chunked", "pallas")
LOSSES = ("log_probs", "forward", "reverse", "jsd")
MIB = 2**20


def operands(chosen: argparse.Namespace) -> tuple[Any, ...]:
    """Hidden states, matrix, and targets or the teacher's two, on the device."""
    import jax
    import jax.numpy as jnp

    tokens, width, vocabulary = (8, chosen.tokens // 8), chosen.width, chosen.vocabulary
    keys = jax.random.split(jax.random.key(0), 5)
    states = [jax.random.normal(key, (*tokens, width), jnp.dtype(chosen.dtype)) for key in keys[:2]]
    matrices = [jax.random.normal(key, (width, vocabulary), jnp.dtype(chosen.dtype)) / width**0.5 for key in keys[2:4]]
    if chosen.loss == "log_probs":
        return states[0], matrices[0], jax.random.randint(keys[4], tokens, 0, vocabulary)
    return states[0], matrices[0], states[1], matrices[1]


class Peak:
    """The most memory that was in use since this was made, above what was then."""

    def __init__(self, device: Any) -> None:
        self.device = None if device.platform == "cpu" else device
        if self.device is None:
            ctypes.CDLL(None).malloc_trim(0)  # or what compiling left would serve the call, and not be counted
            Path("/proc/self/clear_refs").write_text("5")
        self.base = self._read("VmRSS:", "bytes_in_use")

    def mebibytes(self) -> float:
        """So far. A device's peak can't be set back, so this must be what used most in its process."""
        return (self._read("VmHWM:", "peak_bytes_in_use") - self.base) / MIB

    def _read(self, line: str, statistic: str) -> float:
        if self.device is not None:
            return self.device.memory_stats()[statistic]
        [found] = [each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith(line)]
        return 1024 * int(found.split()[1])


def measured(contestant: str, chosen: argparse.Namespace) -> dict[str, float]:
    """Wall and CPU seconds of a call, and the memory of the first one."""
    from reasoning.pipeline.devices import keep_freed_memory

    keep_freed_memory()
    import jax
    import jax.numpy as jnp

    from reasoning.kernels.backends import kernels_for

    head = naive(chosen.loss)
    if contestant != "naive":
        head = ours(chosen.loss, kernels=kernels_for({"chunked": "chunked", "pallas": "pallas_tpu"}[contestant], None))
    given = jax.block_until_ready(operands(chosen))
    weights = jnp.linspace(-1, 1, given[0].shape[0] * given[0].shape[1]).reshape(given[0].shape[:2])
    given = (*given[:2], weights, *given[2:])
    program = jax.jit(both_passes(head, 2)).lower(*given).compile()
    peak = Peak(jax.devices()[0])
    results = jax.block_until_ready(program(*given))
    found = {"MiB": peak.mebibytes(), "sum": float(sum(jnp.sum(each) for each in results[0]))}
    del results
    walls, begun = [], time.process_time()
    for _ in range(chosen.calls):
        started = time.perf_counter()
        jax.block_until_ready(program(*given))
        walls.append(time.perf_counter() - started)
    return found | {"wall": statistics.median(walls), "cpu": (time.process_time() - begun) / chosen.calls}


def main() -> None:
    """Runs the contestants in turn and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loss", choices=LOSSES, default="log_probs")
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--vocabulary", type=int, default=32_768)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--calls", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS[:2]))
    parser.add_argument("--one", choices=CONTESTANTS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one is not None:
        print(json.dumps(measured(chosen.one, chosen)))
        return
    names = ("loss", "tokens", "width", "vocabulary", "dtype", "calls")
    arguments = [text for name in names for text in (f"--{name}", str(getattr(chosen, name)))]
    rounds = rounds_of(__file__, chosen.contestants, chosen.rounds, *arguments)
    products = {"log_probs": 8}.get(chosen.loss, 12) * chosen.tokens * chosen.width * chosen.vocabulary
    print(
        f"{'':8} {'wall s':>8} {'cpu s':>8} {'GFLOP/s':>8} {'MiB':>7} {'sum':>12}  cpu s of naive's; wall s of naive's"
    )
    for name in chosen.contestants:
        middle = {key: median(rounds, name, key) for key in ("wall", "cpu", "MiB", "sum")}
        print(
            f"{name:8} {middle['wall']:8.3f} {middle['cpu']:8.3f} {products / middle['wall'] / 1e9:8.0f} "
            f"{middle['MiB']:7.0f} {middle['sum']:12.1f}  {ratio(rounds, name, 'naive', 'cpu')}; "
            f"{ratio(rounds, name, 'naive', 'wall')}"
        )


if __name__ == "__main__":
    main()
