"""Processes that ask math-verify, killed where a question takes too long or too much memory, and started anew.

SymPy can't be interrupted from within, so each question is asked in a process of its own kind: spawned, never forked
from the one that holds the devices, without JAX, limited in memory, dead with its parent.
"""

import atexit
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import IO

from reasoning.core.errors import InputError

_WORKER = Path(__file__).with_name("math_worker.py")
_START, _MOST_STARTS = 120.0, 3
"""Seconds that a process may take for its imports, and how many in a row may die of them."""
_REMEMBERED = 20_000

Question = tuple[str, str]


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    deadline: float
    ready: bool = False
    question: Question | None = None
    spent: float = 0.0  # seconds of processor time, when it got its question
    extended: bool = False  # whether the question has been given more time by the clock


@dataclass
class Workers:
    """``count`` processes that each answer one question at a time.

    ``seconds`` is what a question may take of a processor's time before its process is killed, and by the clock; once
    twice that by the clock, where a busy machine gave it less of a processor. ``memory`` is how many bytes of addresses
    it may have. Definite answers are remembered.
    """

    count: int
    seconds: float
    memory: int
    _running: list[_Worker] = field(default_factory=list)
    _known: dict[Question, bool] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def verdicts(self, questions: Sequence[Question]) -> list[bool | None]:
        """Whether each pair of expressions in LaTeX is equal; None where nobody could tell in time and memory.

        A process that dies of something else is asked again once. Raises InputError where none can be started.
        """
        with self._lock:
            new = dict.fromkeys(question for question in questions if question not in self._known)
            answers = self._ask(deque(new)) if new else {}
            if len(self._known) > _REMEMBERED:
                self._known.clear()
            given = [self._known.get(question, answers.get(question)) for question in questions]
            self._known |= {question: answer for question, answer in answers.items() if answer is not None}
            return given

    def close(self) -> None:
        """Ends all processes."""
        for worker in self._running:
            _end(worker)
        self._running.clear()

    def _ask(self, waiting: deque[Question]) -> dict[Question, bool | None]:
        answers: dict[Question, bool | None] = {}
        lost: set[Question] = set()
        failed_starts = 0
        while waiting or any(worker.question for worker in self._running):
            self._running += [self._start() for _ in range(self.count - len(self._running))]
            for worker in self._running:
                if waiting and worker.ready and not worker.question:
                    _hand(worker, waiting.popleft(), self.seconds)
            for worker, line in self._heard():
                if line:
                    failed_starts = failed_starts if worker.ready else 0
                    _take(worker, json.loads(line), answers)
                    continue
                failed_starts = _failed(worker, failed_starts)
                self._mourn(worker, waiting, lost, answers)
            for worker in filter(_late, list(self._running)):
                if _kept_waiting(worker, self.seconds):
                    worker.deadline, worker.extended = worker.deadline + self.seconds, True
                    continue
                failed_starts = _failed(worker, failed_starts)
                _take(worker, None, answers)
                self._replace(worker)
        return answers

    def _mourn(
        self,
        worker: _Worker,
        waiting: deque[Question],
        lost: set[Question],
        answers: dict[Question, bool | None],
    ) -> None:
        """Replaces a process that has ended; its question is asked once more, and then has no answer."""
        out_of_time = worker.process.wait() == -signal.SIGPROF
        if worker.question and worker.question not in lost and not out_of_time:
            lost.add(worker.question)
            waiting.appendleft(worker.question)
        else:
            _take(worker, None, answers)
        self._replace(worker)

    def _heard(self) -> list[tuple[_Worker, str]]:
        """The processes that have said something, or ended, before the first deadline; waits for it."""
        with selectors.DefaultSelector() as selector:
            for worker in self._running:
                if worker.question or not worker.ready:
                    selector.register(_pipe(worker.process.stdout), selectors.EVENT_READ, worker)
            ends = [worker.deadline for worker in self._running if worker.question or not worker.ready]
            events = selector.select(max(0.0, min(ends) - time.monotonic())) if ends else []
        return [(key.data, _pipe(key.data.process.stdout).readline().decode()) for key, _ in events]

    def _start(self) -> _Worker:
        command = [sys.executable, "-I", str(_WORKER), str(self.seconds), str(self.memory), str(os.getpid())]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        return _Worker(process, time.monotonic() + _START)

    def _replace(self, worker: _Worker) -> None:
        _end(worker)
        self._running[self._running.index(worker)] = self._start()


@lru_cache(8)
def workers_of(count: int, seconds: float, memory: int) -> Workers:
    """The one set of processes with these settings; they end with this process."""
    workers = Workers(count, seconds, memory)
    atexit.register(workers.close)
    return workers


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ValueError("a process without a pipe")
    return pipe


def _hand(worker: _Worker, question: Question, seconds: float) -> None:
    worker.question, worker.deadline = question, time.monotonic() + seconds
    worker.spent, worker.extended = _processor_seconds(worker.process.pid), False
    pipe = _pipe(worker.process.stdin)
    try:
        pipe.write((json.dumps(question) + "\n").encode())
        pipe.flush()
    except BrokenPipeError:
        return  # It has ended, which is heard next.


def _take(worker: _Worker, said: bool | str | None, answers: dict[Question, bool | None]) -> None:
    """Notes what a process says of its question: yes, no, or None for what it couldn't tell; "ready" is of none."""
    if worker.question:
        answers[worker.question] = None if said in (None, "memory") else said is True
    worker.question, worker.ready = None, True


def _late(worker: _Worker) -> bool:
    return bool(worker.question or not worker.ready) and time.monotonic() >= worker.deadline


def _kept_waiting(worker: _Worker, seconds: float) -> bool:
    """Whether a question's time is up by the clock only, for the first time: others had the processor."""
    if not worker.question or worker.extended:
        return False
    return _processor_seconds(worker.process.pid) - worker.spent < seconds


def _processor_seconds(process: int) -> float:
    """What a child process has had of processors so far, also after its end; in ticks of 10 ms."""
    after_name = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def _end(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.wait()
    for pipe in (worker.process.stdin, worker.process.stdout):
        try:
            _pipe(pipe).close()
        except BrokenPipeError:
            continue


def _failed(worker: _Worker, failed_starts: int) -> int:
    """How many processes in a row have died or hung before their first word. Raises InputError for too many."""
    if worker.ready:
        return failed_starts
    if failed_starts + 1 < _MOST_STARTS:
        return failed_starts + 1
    raise InputError(
        f"math-verify can't be asked: {_WORKER.name} ended with code {worker.process.poll()} before its first answer, "
        f"{_MOST_STARTS} times; try `python -c 'import math_verify'`, and raise memory where that works"
    )
