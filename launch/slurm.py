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
from launch.target import Job, Submission, run_command
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
    return Submission(
        topology=settings.on,
        files=files,
        submit=(("bash", str(folder / "submit_jobs.sh")),),
        jobs=tuple(_job(cell, folder) for cell in shipment.cells),
    )


def _job(cell: Cell, folder: Path) -> Job:
    queued = shlex.join(("squeue", "--noheader", "--me", "--name", cell.name, "--format=%T, job %i for %M, %R"))
    ended = shlex.quote(str(folder / f"{cell.name}.ended"))
    known = f'if [ -n "$queued" ]; then echo "$queued"; elif [ -e {ended} ]; then cat {ended}; fi'
    return Job(
        cell.name,
        state=("bash", "-c", f"queued=$({queued}) || exit; {known}"),
        logs=("tail", "--lines=+1", "--follow=name", "--retry", str(folder / f"{cell.name}.log")),
        stop=(("touch", str(folder / f"{cell.name}.stopped")), ("scancel", "--me", "--name", cell.name)),
    )


def _submitting(shipment: Shipment, folder: Path) -> str:
    """Unpacks the code once and submits: the first cell alone, the others behind it, to take over what it has made."""
    first, *others = (shlex.quote(str(folder / f"{cell.name}.sbatch")) for cell in shipment.cells)
    where, code = shlex.quote(str(folder)), _code(shipment)
    names = ",".join(cell.name for cell in shipment.cells)
    marks = [f"{cell.name}.{mark}" for cell in shipment.cells for mark in ("stopped", "ended")]
    lines = [
        "#!/bin/bash",
        "set -euo pipefail",
        f"cd {where}",
        f"queued=$(squeue --noheader --me --name {names} --format=%j)",
        'if [ -n "$queued" ]; then',
        '  echo "in the queue already: $queued" >&2',
        "  exit 1",
        "fi",
        f"rm -f {' '.join(marks)}",
        "# A folder for each commit: jobs of an earlier launch may still run from theirs.",
        f"if [ ! -d {code} ]; then",
        f"  rm -rf {code}.partial && mkdir {code}.partial && tar -xzf {CODE} -C {code}.partial",
        f"  mv {code}.partial {code}",
        "fi",
        f"first=$(sbatch --parsable {first})",
        'echo "submitted job ${first%%;*}"',
        *(f'sbatch --parsable --dependency="afterany:${{first%%;*}}" {script}' for script in others),
        "",
    ]
    return "\n".join(lines)


def _code(shipment: Shipment) -> str:
    return f"code-{shipment.commit[:12]}"


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
    stopped, ended = (shlex.quote(str(folder / f"{cell.name}.{word}")) for word in ("stopped", "ended"))
    command = run_command(shipment, cell, settings.python, str(folder), str(out), 0)
    joining = 'REASONING_COORDINATOR=auto REASONING_PROCESSES="$SLURM_NTASKS" REASONING_PROCESS_ID="$SLURM_PROCID" '
    joined = settings.nodes * tasks > 1
    task = f"{joining if joined else ''}exec {shlex.join(command)}"
    devices = [f"export REASONING_CPU_DEVICES={settings.cpu_devices} JAX_PLATFORMS=cpu"] if settings.cpu_devices else []
    code = folder / _code(shipment)
    paths = f"{code}:{code / shipment.beside}"
    return "\n".join(
        [
            "#!/bin/bash",
            *(f"#SBATCH {word}" for word in options),
            f"# {cell.name} at commit {shipment.commit}",
            "set -uo pipefail",
            f"cd {shlex.quote(str(code))} || exit 1",
            f"export PYTHONPATH={shlex.quote(paths)}",
            *devices,
            "# The tasks get signals themselves; this script waits until they have saved.",
            "trap ':' TERM",
            f"srun --kill-on-bad-exit=0 --wait=60 bash -c {shlex.quote(task)} &",
            "step=$!",
            'wait "$step"',
            "code=$?",
            'while kill -0 "$step" 2>/dev/null; do wait "$step"; code=$?; done',
            f'echo "ended with exit status $code" > {ended}',
            f'if [ -e {stopped} ]; then exit "$code"; fi',
            f'if [ "$code" -eq {GO_ON} ] || {{ [ "$code" -ne 0 ] && [ "$code" -ne 2 ] && '
            f'[ "${{SLURM_RESTART_COUNT:-0}}" -lt {settings.retries} ]; }}; then',
            '  echo "exit status $code: the job goes on"',
            '  scontrol requeue "$SLURM_JOB_ID"',
            "fi",
            'exit "$code"',
            "",
        ]
    )
