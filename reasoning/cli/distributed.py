"""How a process learns that it is one of several: four environment variables, written and read in this file only.

A launcher (loopback, Slurm, a TPU VM, a pod of GKE) gives every process `process_environment(...)`; the command line
calls `initialize_from_environment()` before anything touches a JAX backend, and `abandon()` when it fails. JAX is
imported inside the functions, so that launchers, which never compute, start at once.
"""

import os
import re
import sys

from reasoning.core.errors import InputError

COORDINATOR = "REASONING_COORDINATOR"
PROCESSES = "REASONING_PROCESSES"
PROCESS_ID = "REASONING_PROCESS_ID"
CPU_DEVICES = "REASONING_CPU_DEVICES"

_AUTO = "auto"
"""In place of the coordinator's address: JAX finds it, as it can on Slurm and on TPU VMs."""

_HEARTBEAT_SECONDS = 30
"""How long a process may be silent before the others take it for dead and end, naming it; JAX's own default is 100."""


def process_environment(
    coordinator: str, processes: int, process_id: int, cpu_devices: int | None = None
) -> dict[str, str]:
    """The variables for one process of a job, so that launchers and the command line can't disagree about them.

    ``coordinator`` is ``host:port`` of process 0, reachable by all, or `auto`; ``cpu_devices`` asks for that many
    virtual CPU devices in the process, None leaves it the accelerators of its host.
    """
    variables = {COORDINATOR: coordinator, PROCESSES: str(processes), PROCESS_ID: str(process_id)}
    return variables if cpu_devices is None else {**variables, CPU_DEVICES: str(cpu_devices)}


def initialize_from_environment() -> None:
    """Join the job that the environment describes; do nothing where it describes none.

    Must run before any use of a JAX backend. REASONING_CPU_DEVICES alone gives one process that many CPU devices.
    Raises InputError for an incomplete or impossible description. Where process 0 can't be reached, JAX itself ends
    the process after five minutes with a message of its own.
    """
    job = {name: os.environ[name] for name in (COORDINATOR, PROCESSES, PROCESS_ID) if name in os.environ}
    if job and len(job) < 3:
        missing = sorted({COORDINATOR, PROCESSES, PROCESS_ID} - job.keys())
        raise InputError(f"{', '.join(job)} set but not {', '.join(missing)}; in the environment; set all or none")
    devices = _whole_number(CPU_DEVICES, minimum=1) if CPU_DEVICES in os.environ else None
    if not job and devices is None:
        return
    if job and job[COORDINATOR] != _AUTO and not re.fullmatch(r".+:[0-9]+", job[COORDINATOR]):
        raise InputError(
            f"{COORDINATOR}={job[COORDINATOR]!r}; in the environment; give host:port of process 0, or {_AUTO}"
        )
    processes = _whole_number(PROCESSES, minimum=1) if job else 1
    process_id = _whole_number(PROCESS_ID, minimum=0) if job else 0
    if process_id >= processes:
        raise InputError(f"{PROCESS_ID}={process_id} of {PROCESSES}={processes}; in the environment; count from 0")

    import jax

    if devices is not None:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", devices)
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    if job:
        coordinator = None if job[COORDINATOR] == _AUTO else job[COORDINATOR]
        jax.distributed.initialize(coordinator, processes, process_id, heartbeat_timeout_seconds=_HEARTBEAT_SECONDS)


def abandon(code: int) -> None:
    """End this process with ``code`` now if it belongs to a job of several; return if it runs alone.

    For failures only: Python's own exit would first wait minutes at JAX's barrier for peers that, in turn, wait for
    this process in a collective. Output is flushed; exit handlers don't run.
    """
    if COORDINATOR not in os.environ:
        return
    import jax

    if jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _whole_number(name: str, minimum: int) -> int:
    text = os.environ[name]
    if not text.isdecimal() or int(text) < minimum:
        raise InputError(f"{name}={text!r}; in the environment; give a whole number from {minimum} up")
    return int(text)
