"""Sinks get every metric, go on where a stage goes on, and never end a run."""

import math
import os
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from reasoning.core.errors import InputError
from reasoning.training import sinks
from reasoning.training.sinks import Guarded, Labels, Several, check_installed, open_sinks

HASH = "0123456789abcdef" * 4


def events(folder: Path) -> list[Event]:
    """What TensorBoard would read from a folder: TFRecords (length, checksum, data, checksum), in time order."""
    found = []
    for path in sorted(folder.iterdir()):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (size,) = struct.unpack_from("<Q", data, place)
            found.append(Event.FromString(data[place + 12 : place + 12 + size]))
            place += size + 16
    return found


class Broken:
    """A sink that a network has failed."""

    def record(self, step: int, values: Mapping[str, Any]) -> None:
        raise ConnectionError("no route to host")

    def close(self) -> None:
        raise AssertionError("it is left alone once it has failed")


def refuse(text: str) -> None:
    raise AssertionError(text)


def test_tensorboard_gets_every_metric_at_its_step_in_a_folder_of_the_stage(tmp_path: Path):
    sink = open_sinks(("tensorboard",), Labels(tmp_path, "zero", HASH), refuse, 1)
    for step in (1, 2):
        sink.record(step, {"reward": np.float32(step / 4), "kl": math.nan, "tokens": 7})
    sink.close()
    values = [(event.step, item.tag, item.simple_value) for event in events(tmp_path / "tensorboard/zero")
              for item in event.summary.value]  # fmt: skip
    assert values == [(1, "reward", 0.25), (1, "tokens", 7), (2, "reward", 0.5), (2, "tokens", 7)]


def test_a_resumed_stage_tells_tensorboard_to_forget_what_comes_again(tmp_path: Path):
    for first in (1, 4):
        open_sinks(("tensorboard",), Labels(tmp_path, "zero", HASH), refuse, first).close()
    started = [event.step for event in events(tmp_path / "tensorboard/zero") if event.HasField("session_log")]
    assert started == [4]


@pytest.mark.slow
def test_wandb_keeps_a_run_offline_under_the_id_of_the_artifact(tmp_path: Path):
    script = f"""
from pathlib import Path
from reasoning.training.sinks import Labels, open_sinks
sink = open_sinks(("wandb",), Labels(Path("my_run"), "zero", "{HASH}"), lambda text: exit(text), 1)
for step in (1, 2):
    sink.record(step, {{"rewards/strict/mean": 0.5, "kl": float("inf")}})
sink.close()
"""
    (tmp_path / "my_run").mkdir()
    environment = os.environ | {"WANDB_MODE": "offline", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    [file] = (tmp_path / "my_run/wandb").glob(f"offline-run-*/run-{HASH[:16]}.wandb")
    written = file.read_bytes()
    assert all(text in written for text in (b"reasoning", b"my_run/zero", b"rewards/strict/mean"))
    assert b"Infinity" not in written


def test_wandb_is_asked_for_the_same_run_again_when_a_stage_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[dict[str, Any]] = []

    def init(**settings: Any) -> Any:
        asked.append(settings)
        return Several()

    monkeypatch.setattr("wandb.init", init)
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    for first in (1, 4):
        open_sinks(("wandb",), Labels(tmp_path, "zero", HASH), refuse, first)
    assert asked[0]["id"] == asked[1]["id"] == HASH[:16]
    assert {one["resume"] for one in asked} == {"allow"} and {one["project"] for one in asked} == {"mine"}


def test_a_sink_that_fails_warns_once_and_is_left_alone():
    told: list[str] = []
    sink = Guarded("wandb", told.append, Broken())
    for step in range(3):
        sink.record(step, {"loss": 1.0})
    sink.close()
    assert told == [
        "wandb gets no more metrics of this stage (ConnectionError: no route to host); metrics.jsonl has them all"
    ]


def test_a_sink_that_can_not_be_opened_is_a_warning_and_the_others_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def init(**settings: Any) -> Any:
        raise TimeoutError("no answer")

    told: list[str] = []
    monkeypatch.setattr("wandb.init", init)
    sink = open_sinks(("wandb", "tensorboard"), Labels(tmp_path, "zero", HASH), told.append, 1)
    sink.record(1, {"loss": 1.0})
    sink.close()
    assert len(told) == 1 and "TimeoutError: no answer" in told[0]
    assert any(event.step == 1 for event in events(tmp_path / "tensorboard/zero"))


def test_a_missing_package_is_refused_with_what_installs_it(monkeypatch: pytest.MonkeyPatch):
    check_installed(("tensorboard", "wandb"))
    monkeypatch.setattr(sinks, "_PACKAGES", {"tensorboard": "no_such_package", "wandb": "wandb"})
    with pytest.raises(InputError, match=r"pip install 'reasoning-jax\[tensorboard\]'"):
        check_installed(("wandb", "tensorboard"))
    check_installed(("wandb",))
