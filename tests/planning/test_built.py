"""What a compiler says of a program's memory is read, and what was built is kept."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from reasoning.planning.built import Built, memory_wanted, peak_memory, read_built, write_built


def test_the_peak_is_what_arguments_results_and_temporaries_take_together():
    shape = jax.ShapeDtypeStruct((256, 256), jnp.float32)
    kept = jax.jit(lambda x: x + 1).lower(shape).compile()
    donated = jax.jit(lambda x: x + 1, donate_argnums=0).lower(shape).compile()
    assert peak_memory(kept) == pytest.approx(2 * 256 * 256 * 4, rel=0.01)
    assert peak_memory(donated) == pytest.approx(256 * 256 * 4, rel=0.01)


def test_on_cpus_a_process_then_holds_what_was_predicted():
    def loss(w, x):
        logits = x @ w
        return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - logits[:, 0])

    w, x = jnp.ones((64, 8192)), jnp.ones((8192, 64))
    step = jax.jit(jax.value_and_grad(loss)).lower(w, x).compile()
    Path("/proc/self/clear_refs").write_text("5")  # the highest size so far is forgotten
    before = _size("VmRSS")
    jax.block_until_ready(step(w, x))
    grown = _size("VmHWM") - before
    # Products pack what they read into room of their own, more of it the wider the processor's vectors: 3 to 12 %.
    assert grown + w.nbytes + x.nbytes == pytest.approx(peak_memory(step), rel=0.15)


def _size(name: str) -> int:
    """Bytes of this process's memory, by Linux."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return 1024 * int(found[1])


@pytest.mark.parametrize(
    ("message", "gib"),
    [
        ("Used 20.5G of 15.75G hbm. Exceeded hbm capacity by 4.75G.", 20.5),
        ("the total memory required for HLO temporaries (42.02G) exceeds available HBM (15.75G).", 42.02),
        ("INTERNAL: RET_CHECK failure", 0),
    ],
)
def test_how_much_is_wanted_is_read_from_the_refusal(message, gib):
    assert memory_wanted(message) == pytest.approx(gib * 2**30)


def test_what_was_kept_is_read_again_and_what_is_spoilt_counts_as_nothing(tmp_path: Path):
    file, built = tmp_path / "one.gz", Built("HloModule jit_f\n", 12.0, 3.5, machine_code=False)
    assert read_built(file) is None
    write_built(file, built)
    assert read_built(file) == built
    file.write_bytes(file.read_bytes()[:-9])
    assert read_built(file) is None
