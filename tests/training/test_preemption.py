import os
import signal
import socket
import threading

import forked
import pytest

from reasoning.training.preemption import Interrupted, Preemption


@pytest.fixture
def handlers():
    """Handlers that stand for those of the surrounding program, and must come back."""
    mine = {signal.SIGTERM: lambda *_: None, signal.SIGINT: lambda *_: None}
    before = {number: signal.signal(number, handler) for number, handler in mine.items()}
    yield mine
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_asks_to_stop_and_keeps_asking(handlers, number, code):
    with Preemption() as preemption:
        assert preemption.stop(1) is None
        os.kill(os.getpid(), number)
        assert [preemption.stop(2), preemption.stop(3)] == [number, number]
    interrupted = Interrupted(number)
    assert (interrupted.signal, interrupted.exit_code) == (number, code)
    assert str(interrupted).startswith(f"stopped by {number.name}")


def test_the_handlers_of_before_come_back_even_after_an_error(handlers):
    with pytest.raises(RuntimeError), Preemption():
        assert signal.getsignal(signal.SIGTERM) != handlers[signal.SIGTERM]
        raise RuntimeError
    assert {number: signal.getsignal(number) for number in handlers} == handlers


def test_a_second_ctrl_c_stops_at_once(handlers):
    with Preemption() as preemption:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert preemption.stop(1) == signal.SIGINT


def test_of_several_signals_the_first_counts_and_none_but_a_second_ctrl_c_raises(handlers):
    with Preemption() as preemption:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert preemption.stop(1) == signal.SIGTERM
    with Preemption() as preemption:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert preemption.stop(1) == signal.SIGINT


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_work_that_never_asks_ends_where_it_stands_until_somebody_asks(handlers, number):
    with Preemption() as preemption:
        with preemption.at_once():
            assert preemption.stop(1) is None
            os.kill(os.getpid(), number)  # Whoever has asked gets an answer.
            assert preemption.stop(2) == number
        with pytest.raises(Interrupted), preemption.at_once():
            pytest.fail("work began although a signal asks to stop")
    done = []
    with Preemption() as preemption, pytest.raises(Interrupted) as interruption, preemption.at_once():
        for piece in range(3):
            done.append(piece)
            os.kill(os.getpid(), number)
    assert done == [0] and interruption.value.exit_code == 128 + number


def test_after_a_part_that_may_end_at_once_a_signal_waits_again(handlers):
    with Preemption() as preemption:
        preemption.stop(1)
        with preemption.at_once():
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        assert preemption.stop(2) == signal.SIGTERM


def test_a_signal_that_was_ignored_stays_ignored(handlers):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Preemption() as preemption:
        os.kill(os.getpid(), signal.SIGINT)
        assert preemption.stop(1) is None
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_outside_the_main_thread_handlers_are_left_alone(handlers):
    answers = []

    def work():
        with Preemption() as preemption:
            answers.append((preemption.stop(1), signal.getsignal(signal.SIGTERM) == handlers[signal.SIGTERM]))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [(None, True)]


# Two stages that count their steps from 0. The second process runs ahead into the second stage and gets SIGTERM there;
# the first is held in the first stage while the hosts agree on where to stop (JAX looks for the signal once a second).
TWO_PROCESSES = """
import os, pathlib, signal, sys, time
import jax
port, folder, me = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
jax.distributed.initialize(f"localhost:{port}", 2, me)
from reasoning.training.preemption import Preemption
agreed = folder / "agreed"
with Preemption() as preemption:
    for stage, steps in (("first", 20), ("second", 2000)):
        for step in range(steps):
            if (me, stage, step) == (0, "first", 15):
                while not agreed.exists():
                    time.sleep(0.01)
            if (me, stage, step) == (1, "second", 3):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(2.5)
                agreed.touch()
            number = preemption.stop(step)
            if number is not None:
                answer = f"{stage} {step} {number} {preemption.stop(step + 1)}"
                (folder / f"answer_{me}.txt").write_text(answer)
                sys.exit(0)
"""


@pytest.mark.slow
def test_two_processes_stop_at_the_same_step_when_one_gets_sigterm(tmp_path):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    words = ["-c", TWO_PROCESSES, str(port), str(tmp_path)]
    children = [forked.start([*words, str(me)], environment) for me in (0, 1)]
    try:
        outputs = [child.communicate(timeout=120) for child in children]
    finally:
        for child in children:
            child.kill()
    assert [child.returncode for child in children] == [0, 0], outputs
    answers = [(tmp_path / f"answer_{me}.txt").read_text() for me in (0, 1)]
    assert answers[0] == answers[1]
    stage, step, *numbers = answers[0].split()
    assert (stage, numbers) == ("second", ["15", "15"]) and 3 <= int(step) < 1999
