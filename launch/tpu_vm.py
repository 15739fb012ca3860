"""TPU VMs of Google Cloud: a queued resource a cell, the code copied to every worker, one process on each.

The results lie in a bucket that every worker mounts (Cloud Storage FUSE), since the processes of a job share a folder.
Renaming a folder must be one step there, so the bucket needs a hierarchical namespace.
"""

import shlex
from dataclasses import dataclass

from launch.accelerators import Slices, slices_of
from launch.commands import Command
from launch.settings import Launch, option
from launch.shipment import CODE, Cell, Shipment
from launch.target import Submission, cell_file, run_command
from launch.worker import GO_ON
from reasoning.core.errors import InputError

_MOUNTED = "/mnt/runs"


@dataclass(frozen=True, kw_only=True)
class TpuVm(Launch):
    """Which TPU VMs, and where."""

    accelerator: str = option("what to rent: v5e-1, v5e-16, v5p-64, 2xv5e-256 for two slices")
    zone: str = option("the zone")
    bucket: str = option("name of the bucket for the results, with a hierarchical namespace")
    project: str = option("the project (default: gcloud's own)", "")
    runtime_version: str = option("the VMs' image (default: the one of the accelerator's generation)", "")
    spot: bool = option("rent capacity that may be taken away: cheaper, and the same command goes on", False)
    wait: str = option("how long to wait for capacity, such as 30m or 6h; empty: as long as it takes", "")
    extra: str = option("more options of gcloud's create, as on its command line", "")


def submission(shipment: Shipment, settings: TpuVm) -> Submission:
    """The scripts and commands of a launch on TPU VMs."""
    slices = slices_of(settings.accelerator)
    if not (settings.runtime_version or slices.runtime):
        raise InputError(f"no image is known for {settings.accelerator}; give --runtime-version")
    files, submit = {}, []
    for cell in shipment.cells:
        files |= {
            f"{cell.name}.rent.sh": _renting(cell, settings, slices),
            f"{cell.name}.prepare.sh": _preparing(cell, settings),
            f"{cell.name}.start.sh": _starting(cell, shipment, settings, slices),
        }
        submit += _steps(cell, shipment, settings, slices)
    first = _nodes(shipment.cells[0], slices)[0]
    stops = [command for cell in shipment.cells for command in _stop(cell, settings, slices)]
    shown = ["state.state", "tpu.nodeSpec[].node.acceleratorType"]
    return Submission(
        topology=slices.planned,
        files=files,
        submit=tuple(submit),
        status=tuple(
            _queued("describe", cell.name, settings, f"--format=value({','.join(shown)})") for cell in shipment.cells
        ),
        logs=(_ssh(first, settings, f"tail -n +1 -F {shipment.cells[0].name}.log"),),
        stop=tuple(stops),
    )


def _where(settings: TpuVm) -> Command:
    project = (f"--project={settings.project}",) if settings.project else ()
    return (f"--zone={settings.zone}", *project)


def _queued(verb: str, name: str, settings: TpuVm, *words: str) -> Command:
    return ("gcloud", "compute", "tpus", "queued-resources", verb, name, *_where(settings), *words)


def _ssh(node: str, settings: TpuVm, command: str) -> Command:
    words = ("--worker=all", f"--command={command}")
    return ("gcloud", "compute", "tpus", "tpu-vm", "ssh", node, *_where(settings), *words)


def _nodes(cell: Cell, slices: Slices) -> list[str]:
    return [cell.name] if slices.count == 1 else [f"{cell.name}-{number}" for number in range(slices.count)]


def _steps(cell: Cell, shipment: Shipment, settings: TpuVm, slices: Slices) -> list[Command]:
    folder = shipment.folder
    sent = [CODE, cell_file(cell), f"{cell.name}.prepare.sh", f"{cell.name}.start.sh"]
    paths = [str(folder / name) for name in sent]
    steps: list[Command] = [("bash", str(folder / f"{cell.name}.rent.sh"))]
    for number, node in enumerate(_nodes(cell, slices)):
        copy = ("gcloud", "compute", "tpus", "tpu-vm", "scp", *paths, f"{node}:", *_where(settings), "--worker=all")
        steps += [copy, _ssh(node, settings, f"bash {cell.name}.prepare.sh")]
        # What keeps running must let go of the connection's streams.
        start = f"setsid nohup bash {cell.name}.start.sh {number} >> {cell.name}.log 2>&1 < /dev/null &"
        steps.append(_ssh(node, settings, start))
    return steps


def _renting(cell: Cell, settings: TpuVm, slices: Slices) -> str:
    """Asks for the queued resource unless it is there, and waits until it is active."""
    nodes = (f"--node-id={cell.name}",)
    if slices.count > 1:
        nodes = (f"--node-count={slices.count}", f"--node-prefix={cell.name}")
    words = (
        *nodes,
        f"--accelerator-type={slices.rented}",
        f"--runtime-version={settings.runtime_version or slices.runtime}",
        *(["--spot"] if settings.spot else []),
        *([f"--valid-until-duration={settings.wait}"] if settings.wait else []),
        *shlex.split(settings.extra),
    )
    state = shlex.join(_queued("describe", cell.name, settings, "--format=value(state.state)"))
    return f"""#!/bin/bash
set -uo pipefail
state() {{ {state} 2>/dev/null || true; }}
case "$(state)" in
  SUSPENDED | SUSPENDING | FAILED)  # what is left of an earlier one that was taken away
    {shlex.join(_queued("delete", cell.name, settings, "--force", "--quiet"))} || exit 1 ;;
esac
if [ -z "$(state)" ]; then
  {shlex.join(_queued("create", cell.name, settings, *words))} || exit 1
fi
while true; do
  now=$(state)
  case "$now" in
    ACTIVE) exit 0 ;;
    FAILED | SUSPENDED | SUSPENDING)
      echo "queued resource {cell.name} in {settings.zone} is $now" >&2
      exit 1 ;;
  esac
  echo "queued resource {cell.name}: ${{now:-not known yet}}"
  sleep "${{POLL_SECONDS:-15}}"
done
"""


def _preparing(cell: Cell, settings: TpuVm) -> str:
    """On every worker: the commit's code, its hashed requirements, the bucket."""
    return f"""#!/bin/bash
set -euo pipefail
cd "$HOME"
rm -rf code && mkdir code && tar -xzf {CODE} -C code
if ! cmp -s code/requirements/tpu.txt .requirements; then
  command -v {settings.python} > /dev/null || {{ echo "no {settings.python} on this VM" >&2; exit 1; }}
  rm -rf env && {settings.python} -m venv env
  env/bin/pip install --quiet --require-hashes -r code/requirements/build.txt
  env/bin/pip install --quiet --require-hashes --no-build-isolation -r code/requirements/tpu.txt
  cp code/requirements/tpu.txt .requirements
fi
if ! mountpoint -q {_MOUNTED}; then
  sudo mkdir -p {_MOUNTED} && sudo chown "$USER" {_MOUNTED}
  gcsfuse --implicit-dirs {shlex.quote(settings.bucket)} {_MOUNTED}
fi
mkdir -p {_MOUNTED}/{cell.name}
"""


def _starting(cell: Cell, shipment: Shipment, settings: TpuVm, slices: Slices) -> str:
    """On every worker: its number, then the run, again after failures; the number of its slice is the argument."""
    results = f"{_MOUNTED}/{shipment.name}"
    command = run_command(shipment, cell, "env/bin/python", "", results, settings.retries)
    total = slices.count * slices.hosts
    metadata = "http://metadata.google.internal/computeMetadata/v1/instance/attributes/agent-worker-number"
    joining = f"""worker=$(curl --silent --fail --header "Metadata-Flavor: Google" {metadata})
export REASONING_COORDINATOR=auto REASONING_PROCESSES={total}
export REASONING_PROCESS_ID=$(( ${{1:-0}} * {slices.hosts} + worker ))
"""
    return f"""#!/bin/bash
set -euo pipefail
cd "$HOME"
if [ -e run.pid ] && kill -0 "$(cat run.pid)" 2> /dev/null; then
  echo "already running as process $(cat run.pid)"
  exit 0
fi
export PYTHONPATH="$HOME/code:$HOME/code/{shipment.beside}"
{joining if total > 1 else ""}{shlex.join(command)} &
echo $! > run.pid
code=0
wait $! || code=$?
rm -f run.pid
if [ "$code" -eq {GO_ON} ]; then echo "saved; the same launch goes on"; fi
exit "$code"
"""


def _stop(cell: Cell, settings: TpuVm, slices: Slices) -> list[Command]:
    """Asks every worker to save, and gives the machines back whether or not they still answer."""
    asks = 'if [ -e run.pid ]; then kill -TERM "$(cat run.pid)" || true; fi'
    waits = "for _ in $(seq 60); do [ -e run.pid ] || break; sleep 2; done"
    saves = [_ssh(node, settings, f"{asks}; {waits}") for node in _nodes(cell, slices)]
    return [
        *(("bash", "-c", f"{shlex.join(save)} || true") for save in saves),
        _queued("delete", cell.name, settings, "--force", "--quiet"),
    ]
