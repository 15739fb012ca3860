"""A cluster with Slurm: a batch script a cell, on a filesystem that the nodes share.

Slurm gives every task its number, and JAX itself finds the coordinator (``jax.distributed``'s detection of Slurm, which
wants a task for each GPU). Preempted jobs are requeued by Slurm, and by the script where the run says that it has saved
and wants to go on (exit status 75).
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from launch.settings import Launch, option
from launch.shipment import CODE, Cell, Shipment
from launch.target import Submission, run_command
from launch.worker import GO_ON


@dataclass(frozen=True, kw_only=True)
class Slurm(Launch):
    """Where and how large a job of Slurm is."""

    python: str = option("the Python of the nodes that has the requirements (default: this one)", sys.executable)
    out: str = option("folder of the results, on a filesystem that all nodes share (default: runs/NAME)", "")
    nodes: int = option("how many nodes", 1)
    tasks_per_node: int = option("processes of a node (default: one for each GPU, else 1)", 0)
    gpus_per_node: int = option("GPUs of a node", 0)
    cpus_per_task: int = option("processors of a process", 1)
    cpu_devices: int = option("virtual CPU devices of a process, for nodes without accelerators", 0)
    time: str = option("time limit, as Slurm writes it; the job goes on in the next one", "1-00:00:00")
    grace: int = option("seconds before the time limit at which the job is asked to save", 300)
    partition: str = option("the partition", "")
    account: str = option("the account", "")
    extra: str = option("more options of sbatch, as on its command line", "")
    on: str = option("what to plan for first (v5e-16, …); empty: no plan is made for GPUs", "")


def submission(shipment: Shipment, settings: Slurm) -> Submission:
    """The scripts and commands of a launch on this cluster."""
    folder = shipment.folder.resolve()
    out = Path(settings.out or f"runs/{shipment.name}").resolve()
    files = {f"{cell.name}.sbatch": _script(cell, shipment, settings, folder, out) for cell in shipment.cells}
    files["submit_jobs.sh"] = _submitting(shipment, folder)
    names = ",".join(cell.name for cell in shipment.cells)
    logs = [str(folder / f"{cell.name}.log") for cell in shipment.cells]
    return Submission(
        topology=settings.on,
        files=files,
        submit=(("bash", str(folder / "submit_jobs.sh")),),
        status=(("squeue", "--name", names, "--me", "--format=%.10i %.20j %.10T %.12M %.20R"),),
        logs=(("tail", "--lines=+1", "--follow=name", "--retry", *logs),),
        stop=(("touch", str(folder / "stopped")), ("scancel", "--me", "--name", names)),
    )


def _submitting(shipment: Shipment, folder: Path) -> str:
    """Unpacks the code once and submits: the first cell alone, the others behind it, to take over what it has made."""
    first, *others = (shlex.quote(str(folder / f"{cell.name}.sbatch")) for cell in shipment.cells)
    where = shlex.quote(str(folder))
    lines = [
        "#!/bin/bash",
        "set -euo pipefail",
        f"cd {where}",
        "rm -rf stopped code",
        f"mkdir code && tar -xzf {CODE} -C code",
        f"first=$(sbatch --parsable {first})",
        'echo "submitted job ${first%%;*}"',
        *(f'sbatch --parsable --dependency="afterany:${{first%%;*}}" {script}' for script in others),
        "",
    ]
    return "\n".join(lines)


def _script(cell: Cell, shipment: Shipment, settings: Slurm, folder: Path, out: Path) -> str:
    tasks = settings.tasks_per_node or max(1, settings.gpus_per_node)
    options = [
        f"--job-name={cell.name}",
        f"--nodes={settings.nodes}",
        f"--ntasks-per-node={tasks}",
        f"--cpus-per-task={settings.cpus_per_task}",
        f"--output={folder}/{cell.name}.log",
        "--open-mode=append",
        "--requeue",
        f"--time={settings.time}",
        f"--signal=TERM@{settings.grace}",
        *([f"--gpus-per-node={settings.gpus_per_node}"] if settings.gpus_per_node else []),
        *([f"--partition={settings.partition}"] if settings.partition else []),
        *([f"--account={settings.account}"] if settings.account else []),
        *shlex.split(settings.extra),
    ]
    command = run_command(shipment, cell, settings.python, str(folder), str(out), 0)
    joining = 'REASONING_COORDINATOR=auto REASONING_PROCESSES="$SLURM_NTASKS" REASONING_PROCESS_ID="$SLURM_PROCID" '
    joined = settings.nodes * tasks > 1
    task = f"{joining if joined else ''}exec {shlex.join(command)}"
    devices = [f"export REASONING_CPU_DEVICES={settings.cpu_devices} JAX_PLATFORMS=cpu"] if settings.cpu_devices else []
    paths = f"{folder}/code:{folder}/code/{shipment.beside}"
    return "\n".join(
        [
            "#!/bin/bash",
            *(f"#SBATCH {word}" for word in options),
            f"# {cell.name} at commit {shipment.commit}",
            "set -uo pipefail",
            f"cd {shlex.quote(str(folder / 'code'))} || exit 1",
            f"export PYTHONPATH={shlex.quote(paths)}",
            *devices,
            "# The tasks get signals themselves; this script waits until they have saved.",
            "trap ':' TERM",
            f"srun --kill-on-bad-exit=0 --wait=60 bash -c {shlex.quote(task)} &",
            "step=$!",
            'wait "$step"',
            "code=$?",
            'while kill -0 "$step" 2>/dev/null; do wait "$step"; code=$?; done',
            f'if [ -e {shlex.quote(str(folder / "stopped"))} ]; then exit "$code"; fi',
            f'if [ "$code" -eq {GO_ON} ] || {{ [ "$code" -ne 0 ] && [ "$code" -ne 2 ] && '
            f'[ "${{SLURM_RESTART_COUNT:-0}}" -lt {settings.retries} ]; }}; then',
            '  echo "exit status $code: the job goes on"',
            '  scontrol requeue "$SLURM_JOB_ID"',
            "fi",
            'exit "$code"',
            "",
        ]
    )
