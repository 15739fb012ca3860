import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

SCHEMA = json.loads((Path(__file__).parents[1] / "data/schemas/jobset.json").read_text())
SETTINGS = ("--image", "registry/image", "--bucket", "results", "--queue", "team")


def manifests(checkout, *words: str) -> tuple[dict, dict]:
    """The files and the JobSet of a dry run."""
    assert checkout.launch("gke", "small.gin", *SETTINGS, *words, "--dry-run") == 0
    files, jobset = json.loads((checkout.folder() / "small.json").read_text())["items"]
    return files, jobset


def strict(schema: Any) -> Any:
    """The schema with unknown fields refused, as the API server does under strict validation."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Any] = {key: strict(value) for key, value in schema.items()}
    if isinstance(made.get("properties"), dict) and "type" in made and made["properties"]:
        made.setdefault("additionalProperties", False)
    return made


@pytest.mark.parametrize("accelerator", ["v5e-1", "v5e-16", "v5p-64", "2xv5e-256"])
def test_the_manifest_is_what_the_schemas_of_jobset_and_kubernetes_take(checkout, accelerator):
    _, jobset = manifests(checkout, "--accelerator", accelerator, "--spot")
    schema = strict(SCHEMA)
    schema["properties"]["metadata"] = {"type": "object"}
    jsonschema.Draft202012Validator(schema).validate(jobset)
    jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["paralelism"] = 2
    with pytest.raises(jsonschema.ValidationError, match="paralelism"):
        jsonschema.Draft202012Validator(schema).validate(jobset)


@pytest.mark.parametrize(
    ("accelerator", "slices", "hosts", "chips", "label", "shape"),
    [  # the tables of GKE's documentation
        ("v5e-1", 1, 1, "1", "tpu-v5-lite-podslice", "1x1"),
        ("v5e-8", 1, 1, "8", "tpu-v5-lite-podslice", "2x4"),
        ("2xv5e-256", 2, 64, "4", "tpu-v5-lite-podslice", "16x16"),
        ("v5p-64", 1, 8, "4", "tpu-v5p-slice", "2x4x4"),
        ("v6e-16", 1, 4, "4", "tpu-v6e-slice", "4x4"),
    ],
)
def test_a_slice_is_a_job_and_a_host_a_pod(checkout, accelerator, slices, hosts, chips, label, shape):
    _, jobset = manifests(checkout, "--accelerator", accelerator)
    [replicated] = jobset["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    pod = job["template"]["spec"]
    assert (replicated["replicas"], job["parallelism"], job["completions"]) == (slices, hosts, hosts)
    assert pod["containers"][0]["resources"]["limits"] == {"google.com/tpu": chips}
    assert pod["nodeSelector"]["cloud.google.com/gke-tpu-accelerator"] == label
    assert pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"] == shape
    values = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
    assert values.get("REASONING_PROCESSES") == (str(slices * hosts) if slices * hosts > 1 else None)
    assert ("MEGASCALE_NUM_SLICES" in values) == (slices > 1)
    assert jobset["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "team"}


def test_exit_statuses_end_or_go_on_and_only_failures_count(checkout):
    _, jobset = manifests(checkout, "--accelerator", "v5e-16", "--retries", "7")
    policy = jobset["spec"]["failurePolicy"]
    assert policy["maxRestarts"] == 7
    actions = {rule["onJobFailureMessagePatterns"][0]: rule["action"] for rule in policy["rules"]}
    again = "RestartJobSetAndIgnoreMaxRestarts"
    assert {message.split("code ")[-1]: action for message, action in actions.items()} == {
        "2 .*": "FailJobSet",
        "75 .*": again,
        ".*DisruptionTarget.*": again,
    }
    rules = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["podFailurePolicy"]["rules"]
    assert [rule["onExitCodes"]["values"] for rule in rules if "onExitCodes" in rule] == [[2], [75]]


def test_builds_the_image_of_the_commit_then_applies_and_follows(checkout, capsys):
    assert checkout.launch("gke", "small.gin", *SETTINGS, "--accelerator", "v5e-16") == 0
    calls = checkout.calls()
    assert [call[:2] for call in calls[:3]] == [["docker", "manifest"], ["docker", "build"], ["docker", "push"]]
    image = f"registry/image:{checkout.record()['commit'][:12]}"
    assert calls[2][2] == image and image in calls[1] and "ENVIRONMENT=tpu" in calls[1]
    verbs = [call[3] for call in calls[3:]]
    assert verbs == ["get", "apply", "get", "get", "get", "logs"]  # followed only once there are pods
    assert "jobset.sigs.k8s.io/jobset-name=small" in calls[-1] and "--max-log-requests=4" in calls[-1]
    told = capsys.readouterr().out
    assert "xpk workload create --cluster=CLUSTER --workload=small --tpu-type=v5litepod-16" in told
    assert "python3 -m reasoning run small.gin --out /mnt/runs/small" in told
    assert "REASONING_PROCESS_ID=$(( ${MEGASCALE_SLICE_ID:-0} * 4 + ${TPU_WORKER_ID:-0} ))" in told


def test_a_job_that_has_ended_makes_room_for_the_same_launch(checkout, monkeypatch):
    monkeypatch.setenv("JOBSET", "Completed")
    assert checkout.launch("gke", "small.gin", *SETTINGS, "--accelerator", "v5e-16", "--detach") == 0
    assert [call[3] for call in checkout.calls() if call[0] == "kubectl"] == ["get", "delete", "apply"]


def test_an_image_that_cannot_be_pushed_applies_nothing(checkout, monkeypatch, capsys):
    monkeypatch.setenv("FAIL_ON", "docker push")
    assert checkout.launch("gke", "small.gin", *SETTINGS, "--accelerator", "v5e-16") == 2
    assert [call for call in checkout.calls() if call[0] == "kubectl"] == []
    assert "python -m launch gke stop small" in capsys.readouterr().err
    monkeypatch.delenv("FAIL_ON")
    assert checkout.launch("gke", "stop", "small") == 0
    assert checkout.calls()[-1][3:] == ["delete", "jobset,configmap", "small", "--ignore-not-found"]
