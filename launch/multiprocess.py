"""Several processes of one job on this machine, joined over loopback: a pod's behaviour without a pod."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from launch.local import noted
from launch.processes import Process, run_together
from reasoning.cli.distributed import process_environment

# Many virtual devices on few cores reach a collective late, and XLA would take that for a deadlock.
PATIENCE = "--xla_cpu_collective_call_warn_stuck_timeout_seconds=120 --xla_cpu_collective_timeout_seconds=900"


def run_processes(command: Sequence[str], processes: int, devices: int, grace: float, out: Path | None) -> int:
    """Run ``command`` as one job of ``processes`` processes with ``devices`` CPU devices each.

    Every process gets the variables of `process_environment`, the coordinator being process 0 on a free loopback port.
    What ``status`` and ``stop`` need to know lies in ``out``; None: nowhere. Returns 0, or the exit code of the first
    process that failed; see `run_together` for failures and signals.
    """
    coordinator = f"127.0.0.1:{_free_port()}"
    flags = f"{os.environ.get('XLA_FLAGS', '')} {PATIENCE}".strip()
    shared = {"XLA_FLAGS": flags, "JAX_COORDINATOR_BIND_ADDRESS": coordinator, "PYTHONUNBUFFERED": "1"}
    started = [
        Process(str(index), tuple(command), shared | process_environment(coordinator, processes, index, devices))
        for index in range(processes)
    ]
    return run_together(started, grace) if out is None else noted(out, lambda: run_together(started, grace))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
