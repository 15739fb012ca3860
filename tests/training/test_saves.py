"""Checkpoints that are written beside the steps that follow: nothing of these reaches them, no failure is silent."""

import errno
import itertools
import os
import signal
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.core.files import sync_tree
from reasoning.core.mesh import MeshShape, build_mesh, replicated
from reasoning.training import checkpoints
from reasoning.training.checkpoints import Checkpointer
from reasoning.training.saves import Saves, saves_of


@pytest.fixture
def slow(monkeypatch):
    """A disk that takes no bytes until it is let go on."""
    event = threading.Event()

    def wait(folder):
        assert event.wait(60)
        sync_tree(folder)

    monkeypatch.setattr(checkpoints, "sync_tree", wait)
    yield event
    event.set()


@pytest.fixture
def interruptible():
    """Ctrl-C as a program of its own has it; workers of a test session may ignore it."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, usual)


def full(folder):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def state():
    rows = np.random.default_rng(0).normal(size=(64, 33)).astype(np.float32)
    return jax.device_put({"w": rows, "n": np.int32(3)}, replicated(build_mesh(MeshShape())))


def test_steps_go_on_while_a_save_is_written_and_change_nothing_of_it(tmp_path, slow):
    step = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf + 1, tree), donate_argnums=0)
    now, saves = state(), Saves(Checkpointer(tmp_path))
    expected = jax.tree.map(np.array, now)
    abstract = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), now)
    saves.begin(1, now, {"at": 1}, {})
    for _ in range(5):
        now = step(now)
        saves.look()
    assert saves.checkpointer.latest_step() is None and int(now["n"]) == 8
    slow.set()
    saves.finish()
    restored = saves.checkpointer.restore(abstract)
    assert restored is not None and restored[0] == 1 and restored[2] == {"at": 1}
    jax.tree.map(np.testing.assert_array_equal, restored[1], expected)


def test_a_save_that_fails_is_told_by_the_next_look_and_by_the_end(tmp_path, monkeypatch):
    store = Checkpointer(tmp_path)
    store.save(1, {"w": jnp.ones(2)}, {})
    monkeypatch.setattr(checkpoints, "sync_tree", full)
    message = "could not save step 2 to .*No space left on device.*the checkpoint of step 1 is intact"
    saves = Saves(store)
    saves.begin(2, {"w": jnp.ones(2)}, {}, {})
    with pytest.raises(InputError, match=message):
        for _ in range(10_000):
            saves.look()
            threading.Event().wait(0.01)
    with pytest.raises(InputError, match=message), saves_of(store) as others:
        others.begin(2, {"w": jnp.ones(2)}, {}, {})
    assert store.steps() == [1]


def test_a_loop_that_fails_waits_for_its_save_and_tells_of_both(tmp_path, monkeypatch):
    store = Checkpointer(tmp_path)
    with pytest.raises(RuntimeError, match="the loop"), saves_of(store) as saves:
        saves.begin(1, {"w": jnp.ones(2)}, {}, {})
        raise RuntimeError("the loop")
    assert store.latest_step() == 1
    monkeypatch.setattr(checkpoints, "sync_tree", full)
    with pytest.raises(RuntimeError, match="the loop") as failure, saves_of(store) as saves:
        saves.begin(2, {"w": jnp.ones(2)}, {}, {})
        raise RuntimeError("the loop")
    assert "could not save step 2" in failure.value.__notes__[0] and store.latest_step() == 1


@pytest.mark.usefixtures("interruptible")
def test_an_interruption_waits_for_its_save_unless_another_one_comes(tmp_path, slow):
    with pytest.raises(KeyboardInterrupt), saves_of(Checkpointer(tmp_path)) as saves:
        saves.begin(1, {"w": jnp.ones(2)}, {}, {})
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        raise RuntimeError("the loop")
    assert saves.checkpointer.latest_step() is None
    threading.Timer(0.2, slow.set).start()
    with pytest.raises(KeyboardInterrupt, match="once"), saves_of(Checkpointer(tmp_path / "other")) as saves:
        saves.begin(1, {"w": jnp.ones(2)}, {}, {})
        raise KeyboardInterrupt("once")
    assert saves.checkpointer.latest_step() == 1


def test_a_clock_that_jumps_ends_no_save(tmp_path, monkeypatch):
    usual, calls = time.time, itertools.count()
    monkeypatch.setattr(time, "time", lambda: usual() + 86_400.0 * next(calls))
    store = Checkpointer(tmp_path)
    store.save(1, {"w": jnp.ones(2)}, {})
    assert store.latest_step() == 1 and next(calls) > 2
