import subprocess
import sys
import time
from pathlib import Path

from launch.background import state

CHECKOUT = Path(__file__).resolve().parents[2]

# The sum over all devices of both processes of (index + 1): each process holds only half of the terms.
PROGRAM = """
from reasoning.cli.distributed import abandon, initialize_from_environment
initialize_from_environment()

import jax, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
terms = jax.make_array_from_callback(
    (jax.device_count(),), NamedSharding(mesh, P("data")),
    lambda index: np.arange(1, jax.device_count() + 1, dtype=np.float32)[index])
total = jax.jit(jax.shard_map(lambda x: jax.lax.psum(x, "data"), mesh=mesh, in_specs=P("data"), out_specs=P()))(terms)
print(jax.process_index(), jax.process_count(), jax.local_device_count(), jax.device_count(), float(total[0]))
"""

LAUNCHER = """
import sys
from pathlib import Path
from launch.multiprocess import run_processes
command = [sys.executable, "-c", sys.argv[1]]
sys.exit(run_processes(command, processes=2, devices=3, grace=2, out=Path(sys.argv[2])))
"""


def run(program: str, out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LAUNCHER, program, str(out)],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
    )


def test_two_processes_of_three_devices_sum_over_all_six(tmp_path):
    done = run(PROGRAM, tmp_path)
    assert done.returncode == 0, done.stdout
    assert {"[0] 0 2 3 6 21.0", "[1] 1 2 3 6 21.0"} <= set(done.stdout.splitlines())


def test_a_process_that_fails_while_its_peer_waits_in_a_collective_ends_the_job(tmp_path):
    failing = "import time\nif jax.process_index() == 1: print(time.monotonic(), flush=True), abandon(5)\ntotal ="
    done = run(PROGRAM.replace("total =", failing), tmp_path)
    assert done.returncode == 5
    assert state(tmp_path / "launch.json") == "ended with exit status 5"
    failed = float(done.stdout.split("[1] ")[1].split()[0])
    assert time.monotonic() - failed < 25  # Peers give up by themselves after 30 s at the earliest.
