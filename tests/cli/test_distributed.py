import subprocess
import sys

import jax
import pytest

from reasoning.cli import distributed
from reasoning.core.errors import InputError

NAMES = (distributed.COORDINATOR, distributed.PROCESSES, distributed.PROCESS_ID, distributed.CPU_DEVICES)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_an_environment_without_a_job_changes_nothing(monkeypatch):
    def unexpected(*arguments, **settings):
        raise AssertionError("called")

    monkeypatch.setattr(jax.distributed, "initialize", unexpected)
    monkeypatch.setattr(jax.config, "update", unexpected)
    distributed.initialize_from_environment()


def test_what_a_launcher_writes_is_what_a_process_joins(monkeypatch):
    joined, settings = [], {}
    monkeypatch.setattr(jax.distributed, "initialize", lambda *given, **named: joined.append((given, named)))
    monkeypatch.setattr(jax.config, "update", settings.__setitem__)
    for name, value in distributed.process_environment("host:1234", 4, 3, cpu_devices=2).items():
        monkeypatch.setenv(name, value)
    distributed.initialize_from_environment()
    assert joined == [(("host:1234", 4, 3), {"heartbeat_timeout_seconds": 30})]
    assert settings["jax_num_cpu_devices"] == 2
    assert settings["jax_cpu_collectives_implementation"] == "gloo"


def test_a_job_on_accelerators_leaves_the_platform_alone():
    assert distributed.CPU_DEVICES not in distributed.process_environment("host:1234", 4, 3)


def test_devices_alone_give_one_process_that_many():
    program = (
        "from reasoning.cli.distributed import initialize_from_environment as start; start(); "
        "import jax; print(jax.device_count(), jax.process_count())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={distributed.CPU_DEVICES: "3"}, capture_output=True, text=True
    )
    assert done.stdout.split() == ["3", "1"], done.stderr


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({distributed.PROCESS_ID: None}, distributed.PROCESS_ID),
        ({distributed.COORDINATOR: None, distributed.PROCESSES: None}, distributed.COORDINATOR),
        ({distributed.COORDINATOR: "host"}, distributed.COORDINATOR),
        ({distributed.PROCESS_ID: "2"}, distributed.PROCESS_ID),
        ({distributed.PROCESSES: "two"}, distributed.PROCESSES),
        ({distributed.PROCESSES: "0"}, distributed.PROCESSES),
        ({distributed.CPU_DEVICES: "-1"}, distributed.CPU_DEVICES),
    ],
)
def test_an_impossible_job_is_refused_by_the_name_of_the_variable(monkeypatch, changes, named):
    monkeypatch.setattr(jax.distributed, "initialize", lambda *arguments: pytest.fail("joined"))
    variables = distributed.process_environment("host:1234", 2, 0) | changes
    for name, value in variables.items():
        if value is not None:
            monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=named):
        distributed.initialize_from_environment()
