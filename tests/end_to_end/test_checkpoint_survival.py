"""What the world does to checkpoints: kills, full disks, several hosts."""

import os
import random
import signal
import socket
import subprocess
import time

import forked
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding

from reasoning.core.hashes import hash_tree
from reasoning.training.checkpoints import Checkpointer

# What the child processes share with this file: a state that is a known function of the step.
STATE = """
import jax, jax.numpy as jnp, numpy as np
from reasoning.training.optimizers import Adafactor, Muon
def state_of(step):
    params = {"w": jnp.full((8, 16), step, jnp.float32) / 7, "b": jnp.full((8,), step, jnp.bfloat16)}
    moments = [one.build(1).init(params) for one in (Muon(0.1), Adafactor(0.1, factored_from=8))]
    return params | {"key": jax.random.key(step), "step": jnp.int32(step), "optimizer":
                     jax.tree.map(lambda leaf: leaf + jnp.asarray(step, leaf.dtype), moments)}
"""
exec(STATE, shared := {})
state_of = shared["state_of"]


def abstract(tree):
    sharding = SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)


def bits(tree):
    """Every leaf as (dtype, shape, bytes), by plain numpy."""
    leaves = []
    for leaf in jax.tree.leaves(tree):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        array = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
        leaves.append((str(leaf.dtype), array.shape, array.tobytes()))
    return leaves


def checkpointer(folder, **options):
    warnings = []
    return Checkpointer(folder, warn=warnings.append, **options), warnings


def environment(**more):
    """For child processes, without a compilation cache: one that is killed would leave half an entry to others."""
    kept = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    return kept | {"JAX_PLATFORMS": "cpu"} | more


FULL_DISK = """
import pathlib, resource, signal, sys
from reasoning.core.errors import InputError
from reasoning.training.checkpoints import Checkpointer, save_params
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder, *limits = sys.argv[1:]
folder = pathlib.Path(folder)
large = {"w": jax.random.normal(jax.random.key(0), (1000, 1000))}
for limit in limits or [resource.RLIM_INFINITY]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    for save in (lambda: Checkpointer(folder).save(2, large, {}), lambda: save_params(folder / "params", large)):
        try:
            save()
        except InputError as error:
            print(error)
"""


def check_full_disk(folder, *limits):
    """``limits`` on a file's size in bytes: some fail while arrays are written, some at the small files beside them.

    Gives what went to stderr beside the messages.
    """
    Checkpointer(folder).save(1, state_of(1), {})
    result = forked.run(["-c", STATE + FULL_DISK, str(folder), *map(str, limits)], environment(), 300)
    assert result.returncode == 0, result.stderr
    messages = result.stdout.splitlines()
    assert len(messages) == 2 * max(len(limits), 1)
    for first, second in zip(messages[::2], messages[1::2], strict=True):
        assert first.startswith(f"could not save step 2 to {folder}: [Errno ")
        assert first.endswith("; the checkpoint of step 1 is intact; free space and run the same command again")
        assert second.startswith(f"could not save parameters to {folder / 'params'}: [Errno ")
    store, warnings = checkpointer(folder)
    step, state, _ = store.restore(abstract(state_of(1)))
    assert (step, warnings) == (1, [])
    assert bits(state) == bits(state_of(1))
    assert not (folder / "params").exists()
    return result.stderr


def test_a_write_that_fails_gives_one_message_and_leaves_the_step_before(tmp_path):
    # The storage library may still say that its event loop is closed, from a thread of its own; not more than that.
    assert "orbax" not in check_full_disk(tmp_path, 1_000_000, 1000, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_full_disk_gives_one_message_and_leaves_the_step_before(tmp_path):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        assert check_full_disk(tmp_path) == ""
    finally:
        subprocess.run(["umount", tmp_path], check=True)


SAVE_FOR_EVER = """
import pathlib, sys
from reasoning.training.checkpoints import Checkpointer
store = Checkpointer(pathlib.Path(sys.argv[1]), keep=2)
one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=one), state_of(0))
restored = store.restore(abstract)
step = restored[0] if restored else 0
while True:
    step += 1
    store.save(step, state_of(step), {"at": step})
    print(step, flush=True)
"""


def kill_a_save(folder, saves, delay):
    """Start a process that saves for ever; kill it so long after so many saves. Gives the last step it reported."""
    child = forked.start(["-c", STATE + SAVE_FOR_EVER, str(folder)], environment())
    try:
        while child.printed[0].count(b"\n") < saves:
            assert not child.wait(0.001), child.printed
        if delay is None:
            while not any(".partial" in path.name for path in folder.iterdir()):
                time.sleep(0.0005)
        else:
            time.sleep(delay)
    finally:
        child.kill()
    reported, errors = child.communicate()
    assert (child.returncode, errors) == (-signal.SIGKILL, "")
    return reported


@pytest.mark.slow
def test_after_any_kill_the_newest_whole_step_is_restored_with_the_right_arrays(tmp_path):
    chance = random.Random(20)
    inside = 0
    newest = 0
    for delay in (None, *(chance.uniform(0, 0.15) for _ in range(4))):
        kill_a_save(tmp_path, saves=chance.randint(1, 4), delay=delay)
        inside += any(".partial" in path.name for path in tmp_path.iterdir())
        store, warnings = checkpointer(tmp_path)
        step, state, cursor = store.restore(abstract(state_of(0)))
        assert warnings == []
        assert bits(state) == bits(state_of(step))
        assert cursor == {"at": step}
        assert step > newest
        newest = step
    assert inside >= 1


TWO_PROCESSES = """
import pathlib, sys
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P
folder, port, me = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
jax.distributed.initialize(f"localhost:{port}", 2, me)
from reasoning.core.errors import InputError
from reasoning.core.hashes import hash_tree
from reasoning.training.checkpoints import Checkpointer, load_params, save_params
mesh = Mesh(np.array(jax.devices()), ("a",), axis_types=(AxisType.Auto,))
def tree(step):
    specs = {"w": P("a"), "b": P(), "step": P()}
    put = lambda x, spec: jax.make_array_from_callback(x.shape, NamedSharding(mesh, spec), lambda i: np.asarray(x)[i])
    return {k: put(x, specs[k]) for k, x in state_of(step).items() if k in specs}
abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree(0))
warnings = []
store = Checkpointer(folder / "steps", warn=warnings.append)
for step in (1, 2, 3):
    store.save(step, tree(step), {"at": step})
if me == 0:
    (folder / "steps" / "step_00000003" / "cursor.json").unlink()
step, state, cursor = store.restore(abstract)
save_params(folder / "params", state)
answers = [f"{step} {cursor} {hash_tree(load_params(folder / 'params', abstract))} {len(warnings)}"]
if me == 0:
    (folder / "params" / "manifest.json").unlink()
try:
    load_params(folder / "params", abstract)
except InputError as error:
    answers.append(str(error))
(folder / f"answers_{me}.txt").write_text(chr(10).join(answers))
"""


@pytest.mark.slow
def test_two_processes_save_and_restore_one_checkpoint_and_fail_together(tmp_path):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    surroundings = environment(JAX_NUM_CPU_DEVICES="2")
    words = ["-c", STATE + TWO_PROCESSES, str(tmp_path), str(port)]
    children = [forked.start([*words, str(me)], surroundings) for me in (0, 1)]
    try:
        outputs = [child.communicate(timeout=120) for child in children]
    finally:
        for child in children:
            child.kill()
    assert [child.returncode for child in children] == [0, 0], outputs
    expected = {name: leaf for name, leaf in state_of(2).items() if name in ("w", "b", "step")}
    digest = hash_tree(expected)
    lines = [(tmp_path / f"answers_{me}.txt").read_text().splitlines() for me in (0, 1)]
    assert [line[0] for line in lines] == [f"2 {{'at': 2}} {digest} 1", f"2 {{'at': 2}} {digest} 0"]
    assert "manifest.json does not exist" in lines[0][1]
    assert "process 0 could not read" in lines[1][1]
