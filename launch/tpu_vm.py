"""TPU VMs of Google Cloud: a queued resource a cell, the code copied to every worker, one process on each.

The results lie in a bucket that every worker mounts (Cloud Storage FUSE), since the processes of a job share a folder.
Renaming a folder must be one step there, so the bucket needs a hierarchical namespace.
"""

import shlex
from dataclasses import dataclass

from launch.accelerators import Slices, slices_of
from launch.commands import Command
from launch.settings import CloudTpus, option
from launch.shipment import CODE, Cell, Shipment
from launch.target import Job, Submission, cell_file, run_command
from launch.worker import GO_ON
from reasoning.core.errors import InputError

_MOUNTED = "/mnt/runs"

_AT_WORK = '[ -e run.pid ] && grep --quiet launch.worker "/proc/$(cat run.pid)/cmdline" 2> /dev/null'
"""Whether a worker runs its process; a number alone may be another's after the machine has begun anew."""


@dataclass(frozen=True, kw_only=True)
class TpuVm(CloudTpus):
    """Which TPU VMs, and where."""

    python: str = option("the VMs' Python (default: the newest from 3.11 up; else 3.11 is installed)", "")
    zone: str = option("the zone")
    project: str = option("the project (default: gcloud's own)", "")
    runtime_version: str = option("the VMs' image (default: the one of the accelerator's generation)", "")
    wait: str = option("how long to wait for capacity, such as 30m or 6h; empty: as long as it takes", "")
    extra: str = option("more options of gcloud's create, as on its command line", "")


def submission(shipment: Shipment, settings: TpuVm) -> Submission:
    """The scripts and commands of a launch on TPU VMs."""
    slices = slices_of(settings.accelerator)
    if not (settings.runtime_version or slices.runtime):
        raise InputError(f"no image is known for {settings.accelerator}; give --runtime-version")
    files = {}
    for cell in shipment.cells:
        files |= {
            f"{cell.name}.rent.sh": _renting(cell, settings, slices),
            f"{cell.name}.prepare.sh": _preparing(settings),
            f"{cell.name}.start.sh": _starting(cell, shipment, settings, slices),
            f"{cell.name}.ask.sh": _asking(),
            f"{cell.name}.save.sh": _saving(),
            f"{cell.name}.state.sh": _telling(cell, settings, slices),
            f"{cell.name}.stop.sh": _stopping(cell, settings, slices),
        }
    first, *others = shipment.cells
    files["wait.sh"] = _waiting(first, shipment)
    behind = [step for cell in others for step in _steps(cell, shipment, settings, slices)]
    return Submission(
        topology=slices.planned,
        files=files,
        submit=tuple(_steps(first, shipment, settings, slices)),
        behind=(("bash", str(shipment.folder / "wait.sh")), *behind) if others else (),
        jobs=tuple(_job(cell, shipment, settings, slices) for cell in shipment.cells),
    )


def _job(cell: Cell, shipment: Shipment, settings: TpuVm, slices: Slices) -> Job:
    return Job(
        cell.name,
        state=("bash", str(shipment.folder / f"{cell.name}.state.sh")),
        logs=_ssh(_nodes(cell, slices)[0], settings, f"tail -n +1 -F {cell.name}.log", "all"),
        stop=(("bash", str(shipment.folder / f"{cell.name}.stop.sh")),),
    )


def _where(settings: TpuVm) -> Command:
    project = (f"--project={settings.project}",) if settings.project else ()
    return (f"--zone={settings.zone}", *project)


def _queued(verb: str, name: str, settings: TpuVm, *words: str) -> Command:
    return ("gcloud", "compute", "tpus", "queued-resources", verb, name, *_where(settings), *words)


def _ssh(node: str, settings: TpuVm, command: str, worker: str) -> Command:
    # Quiet: the first connection makes a key, and would ask for a passphrase.
    words = (f"--worker={worker}", "--quiet", f"--command={command}")
    return ("gcloud", "compute", "tpus", "tpu-vm", "ssh", node, *_where(settings), *words)


def _nodes(cell: Cell, slices: Slices) -> list[str]:
    return [cell.name] if slices.count == 1 else [f"{cell.name}-{number}" for number in range(slices.count)]


def _steps(cell: Cell, shipment: Shipment, settings: TpuVm, slices: Slices) -> list[Command]:
    folder = shipment.folder
    sent = [CODE, cell_file(cell), *(f"{cell.name}.{name}.sh" for name in ("prepare", "start", "ask", "save"))]
    paths = [str(folder / name) for name in sent]
    steps: list[Command] = [("bash", str(folder / f"{cell.name}.rent.sh"))]
    for number, node in enumerate(_nodes(cell, slices)):
        copy = (
            "gcloud",
            "compute",
            "tpus",
            "tpu-vm",
            "scp",
            *paths,
            f"{node}:",
            *_where(settings),
            "--worker=all",
            "--quiet",
        )
        steps += [copy, _ssh(node, settings, f"bash {cell.name}.prepare.sh", "all")]
        # What keeps running must let go of the connection's streams.
        start = f"setsid nohup bash {cell.name}.start.sh {number} >> {cell.name}.log 2>&1 < /dev/null &"
        steps.append(_ssh(node, settings, start, "all"))
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


def _preparing(settings: TpuVm) -> str:
    """On every worker: the commit's code, its hashed requirements, the bucket; nothing where the run is at work."""
    given = shlex.quote(settings.python) if settings.python else "python3.13 python3.12 python3.11 python3"
    repository = "https://packages.cloud.google.com/apt"
    key = "/usr/share/keyrings/cloud.google.asc"
    return f"""#!/bin/bash
set -euo pipefail
cd "$HOME"
if {_AT_WORK}; then exit 0; fi
rm -rf code && mkdir code && tar -xzf {CODE} -C code
find_python() {{
  for name in {given}; do
    if "$name" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
      echo "$name"
      return
    fi
  done
}}
if ! cmp -s code/requirements/tpu.txt .requirements; then
  python=$(find_python)
  if [ -z "$python" ]; then
    sudo apt-get update --quiet && sudo apt-get install --yes --quiet python3.11 python3.11-venv
    python=python3.11
  fi
  rm -rf env && "$python" -m venv env
  env/bin/pip install --quiet --require-hashes -r code/requirements/build.txt
  env/bin/pip install --quiet --require-hashes --no-build-isolation -r code/requirements/tpu.txt
  cp code/requirements/tpu.txt .requirements
fi
if ! command -v gcsfuse > /dev/null; then
  curl --silent --fail {repository}/doc/apt-key.gpg | sudo tee {key} > /dev/null
  echo "deb [signed-by={key}] {repository} gcsfuse-$(lsb_release --codename --short) main" |
    sudo tee /etc/apt/sources.list.d/gcsfuse.list > /dev/null
  sudo apt-get update --quiet && sudo apt-get install --yes --quiet gcsfuse
fi
if ! mountpoint -q {_MOUNTED}; then
  sudo mkdir -p {_MOUNTED} && sudo chown "$USER" {_MOUNTED}
  gcsfuse --implicit-dirs {shlex.quote(settings.bucket)} {_MOUNTED}
fi
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
if {_AT_WORK}; then
  echo "already running as process $(cat run.pid)"
  exit 0
fi
rm -f run.ended
export PYTHONPATH="$HOME/code:$HOME/code/{shipment.beside}"
{joining if total > 1 else ""}{shlex.join(command)} &
echo $! > run.pid
code=0
wait $! || code=$?
echo "$code" > run.ended
rm -f run.pid
if [ "$code" -eq {GO_ON} ]; then echo "saved; the same launch goes on"; fi
exit "$code"
"""


def _asking() -> str:
    """On a worker: how its run is, in a line."""
    return f"""#!/bin/bash
cd "$HOME" || exit
if [ -e run.ended ]; then
  echo "run ended with exit status $(cat run.ended)"
elif {_AT_WORK}; then
  echo "run at work"
else
  echo "run not started"
fi
"""


def _saving() -> str:
    """On a worker: asks the run to save, and waits two minutes for that."""
    return f"""#!/bin/bash
cd "$HOME" || exit
if {_AT_WORK}; then kill -TERM "$(cat run.pid)" || true; fi
for _ in $(seq 60); do
  if ! {{ {_AT_WORK}; }}; then break; fi
  sleep 2
done
"""


def _telling(cell: Cell, settings: TpuVm, slices: Slices) -> str:
    """The state of the resource and, where it is active, of the run on its first worker, in a line."""
    described = shlex.join(_queued("describe", cell.name, settings, "--format=value(state.state)"))
    asked = shlex.join(_ssh(_nodes(cell, slices)[0], settings, f"bash {cell.name}.ask.sh", "0"))
    return f"""#!/bin/bash
set -uo pipefail
if ! told=$({described} 2>&1); then
  if grep --quiet --ignore-case not.found <<< "$told"; then exit 0; fi
  echo "$told"
  exit 1
fi
told=${{told##*$'\\n'}}  # warnings come first
if [ "$told" = ACTIVE ]; then
  run=$({asked} 2> /dev/null) || run="does not answer"
  told="$told, ${{run##*$'\\n'}}"
fi
echo "$told"
"""


def _waiting(cell: Cell, shipment: Shipment) -> str:
    """Waits until a cell has ended, well or not; fails where its machine is gone."""
    state = shlex.join(("bash", str(shipment.folder / f"{cell.name}.state.sh")))
    return f"""#!/bin/bash
set -uo pipefail
while true; do
  if state=$({state}); then
    case "$state" in
      "" | SUSPEND* | FAILED*)
        echo "{cell.name} is gone (${{state:-deleted}}); the same launch goes on" >&2
        exit 1 ;;
      *"ended with exit status {GO_ON}") ;;  # it waits to be launched again
      *"ended with exit status"*) echo "$state"; exit 0 ;;
    esac
  fi
  sleep "${{POLL_SECONDS:-60}}"
done
"""


def _stopping(cell: Cell, settings: TpuVm, slices: Slices) -> str:
    """Asks every worker to save, and gives the machines back whether or not they still answer."""
    described = shlex.join(_queued("describe", cell.name, settings, "--format=value(state.state)"))
    saves = [shlex.join(_ssh(node, settings, f"bash {cell.name}.save.sh", "all")) for node in _nodes(cell, slices)]
    together = "\n  ".join(f"{save} &" for save in saves)
    return f"""#!/bin/bash
set -uo pipefail
if ! told=$({described} 2>&1); then
  if grep --quiet --ignore-case not.found <<< "$told"; then exit 0; fi  # never rented, or given back
  echo "$told" >&2
fi
if [ "${{told##*$'\\n'}}" = ACTIVE ]; then
  {together}
  wait
fi
{shlex.join(_queued("delete", cell.name, settings, "--force", "--quiet"))}
"""
