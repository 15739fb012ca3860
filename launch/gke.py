"""Kubernetes with TPUs (GKE): a JobSet a cell, a Job for each slice and a pod for each of its hosts.

Kueue admits it where ``--queue`` names a local queue. Results lie in a bucket that pods mount (Cloud Storage FUSE); it
needs a hierarchical namespace, since a folder is renamed in one step. The image holds the commit.
"""

import json
import shlex
from dataclasses import dataclass
from typing import Any

from launch.accelerators import Slices, slices_of
from launch.commands import Command
from launch.settings import CloudTpus, option
from launch.shipment import CODE, Cell, Shipment
from launch.target import Job, Submission, cell_file, run_command
from launch.worker import GO_ON

_MOUNTED, _FILES, _PORT = "/mnt/runs", "/etc/experiment", 8476
_MEGASCALE_PORT = 8080
_JOB = "slice"
_BAD_INPUT = 2


@dataclass(frozen=True, kw_only=True)
class Gke(CloudTpus):
    """Whose image, which queue, and in whose name."""

    image: str = option("repository of the image, without a tag; the commit is the tag")
    queue: str = option("Kueue's local queue; empty: no queue", "")
    namespace: str = option("the namespace", "default")
    service_account: str = option("the Kubernetes account that may write to the bucket", "default")
    grace: int = option("seconds that a pod has to save when its node is taken away", 120)


def submission(shipment: Shipment, settings: Gke) -> Submission:
    """The manifests and commands of a launch on this cluster."""
    slices = slices_of(settings.accelerator)
    image = f"{settings.image}:{shipment.commit[:12]}"
    files = {"image.sh": _building(shipment, image)}
    for cell in shipment.cells:
        manifests = [_files(cell, settings), _jobset(cell, shipment, settings, slices, image)]
        listed = {"apiVersion": "v1", "kind": "List", "items": manifests}
        files[f"{cell.name}.json"] = json.dumps(listed, indent=2) + "\n"
        files[f"{cell.name}.apply.sh"] = _applying(cell, shipment, settings)
    first, *others = shipment.cells
    files["wait.sh"] = _waiting(first, settings)
    return Submission(
        topology=slices.planned,
        files=files,
        submit=(_script_of(shipment, "image.sh"), _script_of(shipment, f"{first.name}.apply.sh")),
        behind=(
            _script_of(shipment, "wait.sh"),
            *(_script_of(shipment, f"{cell.name}.apply.sh") for cell in others),
        )
        if others
        else (),
        jobs=tuple(_job(cell, settings, slices) for cell in shipment.cells),
        hint=_xpk(shipment, settings, slices, image),
    )


def _script_of(shipment: Shipment, name: str) -> Command:
    return ("bash", str(shipment.folder / name))


def _kubectl(settings: Gke, *words: str) -> Command:
    return ("kubectl", "--namespace", settings.namespace, *words)


def _get(cell: Cell, settings: Gke, path: str) -> Command:
    return _kubectl(settings, "get", "jobset", cell.name, "--ignore-not-found", f"--output=jsonpath={path}")


def _job(cell: Cell, settings: Gke, slices: Slices) -> Job:
    counts = "{range .status.replicatedJobsStatus[*]}, {.active} active, {.failed} failed{end}"
    state = f"{{.status.terminalState}}{counts}, {{.status.restarts}} restarts, suspended: {{.spec.suspend}}"
    pods = f"jobset.sigs.k8s.io/jobset-name={cell.name}"
    some = shlex.join(_kubectl(settings, "get", "pods", "--selector", pods, "--output=name"))
    follow = ("--follow", "--prefix", "--container=run", f"--max-log-requests={slices.count * slices.hosts}")
    logs = shlex.join(_kubectl(settings, "logs", *follow, "--pod-running-timeout=24h", "--selector", pods))
    # Without a pod, as while a queue holds the job, kubectl would follow nothing and end.
    waits = f'until [ -n "$({some})" ]; do sleep "${{POLL_SECONDS:-15}}"; done; exec {logs}'
    return Job(
        cell.name,
        state=_get(cell, settings, state),
        logs=("bash", "-c", waits),
        stop=(_kubectl(settings, "delete", "jobset,configmap", cell.name, "--ignore-not-found"),),
    )


def _applying(cell: Cell, shipment: Shipment, settings: Gke) -> str:
    """Applies a cell; one of an earlier launch that has ended makes room, since its JobSet would never begin again."""
    return f"""#!/bin/bash
set -euo pipefail
ended=$({shlex.join(_get(cell, settings, "{.status.terminalState}"))})
if [ -n "$ended" ]; then
  {shlex.join(_kubectl(settings, "delete", "jobset", cell.name, "--ignore-not-found"))}
fi
{shlex.join(_kubectl(settings, "apply", "--filename", str(shipment.folder / f"{cell.name}.json")))}
"""


def _waiting(cell: Cell, settings: Gke) -> str:
    """Waits until a cell has ended, well or not; fails where it is gone."""
    state = _get(cell, settings, "{.metadata.name} {.status.terminalState}")
    return f"""#!/bin/bash
set -uo pipefail
while true; do
  if state=$({shlex.join(state)}); then
    case "$state" in
      "") echo "{cell.name} was deleted; what waits for it is not submitted" >&2; exit 1 ;;
      *Completed | *Failed) echo "$state"; exit 0 ;;
    esac
  fi
  sleep "${{POLL_SECONDS:-15}}"
done
"""


def _xpk(shipment: Shipment, settings: Gke, slices: Slices, image: str) -> str:
    """The first cell by xpk, which has no place for a file of ours: the commit's file, with its overrides."""
    if not shipment.file:
        return "xpk could run only a file that the commit holds"
    number = f"$(( ${{MEGASCALE_SLICE_ID:-0}} * {slices.hosts} + ${{TPU_WORKER_ID:-0}} ))"
    total = slices.count * slices.hosts
    joins = (
        f"REASONING_COORDINATOR=auto REASONING_PROCESSES={total} REASONING_PROCESS_ID={number} " if total > 1 else ""
    )
    verb = "sweep" if len(shipment.cells) > 1 else "run"
    run = (settings.python, "-m", "reasoning", verb, shipment.file, *shipment.overrides)
    command = shlex.join((*run, "--out", f"{_MOUNTED}/{shipment.name}"))
    words = (
        *("xpk", "workload", "create", "--cluster=CLUSTER", f"--workload={shipment.name}"),
        *(f"--tpu-type={slices.rented}", f"--num-slices={slices.count}", f"--docker-image={image}"),
        *(f"--max-restarts={settings.retries}", f"--termination-grace-period-seconds={settings.grace}"),
        f"--command={joins}{command}",
    )
    return (
        "by xpk, without the restart rules, once image.sh has run and 'xpk storage attach' has put the bucket at "
        f"{_MOUNTED}: {shlex.join(words)}"
    )


def _building(shipment: Shipment, image: str) -> str:
    """Builds the image from the commit alone, unless the registry has it."""
    folder = shlex.quote(str(shipment.folder))
    return f"""#!/bin/bash
set -euo pipefail
if docker manifest inspect {shlex.quote(image)} > /dev/null 2>&1; then
  exit 0
fi
docker build --platform linux/amd64 --build-arg ENVIRONMENT=tpu --tag {shlex.quote(image)} \\
  --file launch/Dockerfile - < {folder}/{CODE}
docker push {shlex.quote(image)}
"""


def _files(cell: Cell, settings: Gke) -> dict[str, Any]:
    """The cell's experiment file, for the pods to mount."""
    metadata = {"name": cell.name, "namespace": settings.namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {cell_file(cell): cell.text}}


def _jobset(cell: Cell, shipment: Shipment, settings: Gke, slices: Slices, image: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": cell.name, "namespace": settings.namespace}
    if settings.queue:
        metadata["labels"] = {"kueue.x-k8s.io/queue-name": settings.queue}
    # A slice is one node pool, and a node pool serves one slice at a time.
    metadata["annotations"] = {
        "alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool",
        "reasoning/commit": shipment.commit,
    }
    job = {
        "parallelism": slices.hosts,
        "completions": slices.hosts,
        "completionMode": "Indexed",
        "backoffLimit": 0,  # Hosts of a slice begin again together, which is the JobSet's business.
        "podFailurePolicy": {"rules": [_fails_for_good(), _goes_on(), _is_preempted()]},
        "template": _pod(cell, shipment, settings, slices, image),
    }
    spec = {
        "failurePolicy": {"maxRestarts": settings.retries, "rules": _restarts()},
        "replicatedJobs": [{"name": _JOB, "replicas": slices.count, "template": {"spec": job}}],
    }
    return {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": metadata, "spec": spec}


def _fails_for_good() -> dict[str, Any]:
    return _on_exit(_BAD_INPUT)


def _goes_on() -> dict[str, Any]:
    return _on_exit(GO_ON)


def _on_exit(code: int) -> dict[str, Any]:
    return {"action": "FailJob", "onExitCodes": {"containerName": "run", "operator": "In", "values": [code]}}


def _is_preempted() -> dict[str, Any]:
    return {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


def _restarts() -> list[dict[str, Any]]:
    """Bad input ends the JobSet; what was preempted or has saved goes on without counting; the rest counts.

    A Job that a rule above has failed says why in its message.
    """
    reason = {"onJobFailureReasons": ["PodFailurePolicy"]}
    message = r".*failed with exit code {} .*"
    bad, saved = ([message.format(code)] for code in (_BAD_INPUT, GO_ON))
    free = "RestartJobSetAndIgnoreMaxRestarts"
    return [
        {"name": "badInput", "action": "FailJobSet", **reason, "onJobFailureMessagePatterns": bad},
        {"name": "saved", "action": free, **reason, "onJobFailureMessagePatterns": saved},
        {"name": "preempted", "action": free, **reason, "onJobFailureMessagePatterns": [".*DisruptionTarget.*"]},
    ]


def _pod(cell: Cell, shipment: Shipment, settings: Gke, slices: Slices, image: str) -> dict[str, Any]:
    chips = {"google.com/tpu": str(slices.chips_per_host)}
    container = {
        "name": "run",
        "image": image,
        "command": ["bash", "-c", _script(cell, shipment, settings, slices)],
        "env": _environment(cell, slices),
        "ports": [{"containerPort": _PORT}, {"containerPort": _MEGASCALE_PORT}],
        "resources": {"requests": chips, "limits": chips},
        "volumeMounts": [{"name": "results", "mountPath": _MOUNTED}, {"name": "files", "mountPath": _FILES}],
    }
    selector = {
        "cloud.google.com/gke-tpu-accelerator": slices.node_label,
        "cloud.google.com/gke-tpu-topology": slices.shape,
        **({"cloud.google.com/gke-spot": "true"} if settings.spot else {}),
    }
    mounted = {"bucketName": settings.bucket, "mountOptions": "implicit-dirs"}
    fuse = {"driver": "gcsfuse.csi.storage.gke.io", "volumeAttributes": mounted}
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": settings.grace,
        "serviceAccountName": settings.service_account,
        "nodeSelector": selector,
        "containers": [container],
        "volumes": [
            {"name": "results", "csi": fuse},
            {"name": "files", "configMap": {"name": cell.name}},
        ],
    }
    return {"metadata": {"annotations": {"gke-gcsfuse/volumes": "true"}}, "spec": spec}


def _environment(cell: Cell, slices: Slices) -> list[dict[str, Any]]:
    """Which slice and host a pod is, from the labels that JobSet and Job give it."""
    host = f"{cell.name}-{_JOB}-0-0.{cell.name}"
    index = {"fieldRef": {"fieldPath": "metadata.annotations['jobset.sigs.k8s.io/job-index']"}}
    several = {
        "MEGASCALE_NUM_SLICES": str(slices.count),
        "MEGASCALE_COORDINATOR_ADDRESS": f"{host}:{_MEGASCALE_PORT}",
        "MEGASCALE_SLICE_ID": "$(SLICE)",
    }
    joined = {"REASONING_COORDINATOR": f"{host}:{_PORT}", "REASONING_PROCESSES": str(slices.count * slices.hosts)}
    values = (joined if slices.count * slices.hosts > 1 else {}) | (several if slices.count > 1 else {})
    return [{"name": "SLICE", "valueFrom": index}, *({"name": name, "value": text} for name, text in values.items())]


def _script(cell: Cell, shipment: Shipment, settings: Gke, slices: Slices) -> str:
    """What a pod runs: its number of all processes, then the run."""
    command = run_command(shipment, cell, settings.python, _FILES, f"{_MOUNTED}/{shipment.name}", 0)
    number = f"export REASONING_PROCESS_ID=$(( SLICE * {slices.hosts} + JOB_COMPLETION_INDEX ))"
    joins = [number] if slices.count * slices.hosts > 1 else []
    path = f'export PYTHONPATH="$PWD:$PWD/{shipment.beside}"'
    return "\n".join([*joins, path, f"exec {shlex.join(command)}"])
